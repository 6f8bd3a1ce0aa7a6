// Rows that an index keeps in 16 or 8 bits: made of float32, and read as float32.
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "bindings/index_rows.hpp"
#include "search/stored_rows.hpp"

namespace fastembed::bindings {
namespace {

Storage storage_of(std::string_view name) {
  if (name == "float16") return Storage::kFloat16;
  if (name == "bfloat16") return Storage::kBfloat16;
  if (name == "int8") return Storage::kInt8;
  throw std::invalid_argument("storage must be 'float16', 'bfloat16' or 'int8', got '" + std::string(name) + "'");
}

std::string_view name_of(Storage storage) {
  return storage == Storage::kFloat16 ? "float16" : storage == Storage::kBfloat16 ? "bfloat16" : "int8";
}

template <class T>
void view(const py::object& elements, search::StoredRows& rows) {
  const RowsView<T> seen = strided_rows(as_array_of<T>(elements, "elements"), "elements");
  rows.data = reinterpret_cast<const std::byte*>(seen.data);
  rows.rows = seen.rows;
  rows.depth = seen.columns;
  rows.stride = seen.stride * sizeof(T);
}

// Memory that narrow_rows is to write to.
template <class T>
std::byte* memory_of(const py::object& elements, const search::Matrix& rows) {
  auto array = as_array_of<T>(elements, "elements");
  const RowsView<T> seen = strided_rows(array, "elements");
  if (seen.rows != rows.rows || seen.columns != rows.depth || seen.stride != seen.columns) {
    throw std::invalid_argument("elements must be C-contiguous and have the shape of x");
  }
  return reinterpret_cast<std::byte*>(array.mutable_data());
}

std::int64_t narrow_rows(const StridedArray<float>& x, std::string_view storage, const py::object& elements,
                         std::optional<ContiguousArray<float>>& scales, int workers) {
  const RowsView<float> seen = strided_rows(x, "x");
  const search::Matrix rows{seen.data, seen.rows, seen.columns, seen.stride};
  const Storage to = storage_of(storage);
  if (scales.has_value() != (to == Storage::kInt8)) throw std::invalid_argument("scales are for int8 alone");
  if (scales && writable_view_1d(*scales, "scales").size() != rows.rows) {
    throw std::invalid_argument("scales must have one element a row");
  }
  std::byte* const out =
      to == Storage::kInt8 ? memory_of<std::int8_t>(elements, rows) : memory_of<std::uint16_t>(elements, rows);
  float* const scales_out = scales ? scales->mutable_data() : nullptr;
  const py::gil_scoped_release release;
  return search::narrow_rows(rows, to, out, scales_out, std::max(workers, 1), &check_signals);
}

StridedArray<float> widen_rows(const StoredRows& given, int workers) {
  const search::StoredRows& rows = given.rows();
  StridedArray<float> out({static_cast<py::ssize_t>(rows.rows), static_cast<py::ssize_t>(rows.depth)});
  float* const to = out.mutable_data();
  const py::gil_scoped_release release;
  search::widen_all(rows, to, std::max(workers, 1), &check_signals);
  return out;
}

}  // namespace

StoredRows::StoredRows(std::string_view storage, py::object elements, std::optional<ContiguousArray<float>> scales)
    : elements_(std::move(elements)), scales_(std::move(scales)) {
  rows_.storage = storage_of(storage);
  if (rows_.storage == Storage::kInt8) {
    view<std::int8_t>(elements_, rows_);
  } else {
    view<std::uint16_t>(elements_, rows_);
  }
  if (scales_.has_value() != (rows_.storage == Storage::kInt8)) {
    throw std::invalid_argument("scales are for int8 alone, which needs them");
  }
  if (!scales_) return;
  if (view_1d(*scales_, "scales").size() != rows_.rows) {
    throw std::invalid_argument("scales must have one element a row");
  }
  rows_.scales = scales_->data();
}

StoredRows StoredRows::at(const py::object& key) const {
  std::optional<ContiguousArray<float>> scales;
  if (scales_) scales = py::object((*scales_)[key]).cast<ContiguousArray<float>>();
  return {name_of(rows_.storage), py::object(elements_[key]), std::move(scales)};
}

search::StoredRows index_rows(const py::object& given, const char* name) {
  if (py::isinstance<StridedArray<float>>(given)) {
    const RowsView<float> seen = strided_rows(py::reinterpret_borrow<StridedArray<float>>(given), name);
    return search::Matrix{seen.data, seen.rows, seen.columns, seen.stride};
  }
  if (!py::isinstance<StoredRows>(given)) {
    throw py::type_error(std::string(name) + " must be an ndarray of float32 or StoredRows");
  }
  return given.cast<const StoredRows&>().rows();
}

void bind_index_rows(py::module_& m) {
  py::class_<StoredRows>(m, "StoredRows")
      .def(py::init<std::string_view, py::object, std::optional<ContiguousArray<float>>>(), py::arg("storage"),
           py::arg("elements"), py::arg("scales").noconvert() = py::none())
      .def("__len__", [](const StoredRows& self) { return self.rows().rows; })
      .def("__getitem__", &StoredRows::at, py::arg("key"))
      .def_property_readonly("shape",
                             [](const StoredRows& self) { return std::tuple(self.rows().rows, self.rows().depth); })
      .def_property_readonly("size", [](const StoredRows& self) { return self.rows().rows * self.rows().depth; });
  m.def("narrow_rows", &narrow_rows, py::arg("x").noconvert(), py::arg("storage"), py::arg("elements"),
        py::arg("scales").noconvert(), py::arg("workers") = 1);
  m.def("widen_rows", &widen_rows, py::arg("rows"), py::arg("workers") = 1);
}

}  // namespace fastembed::bindings
