// The rows of an index as Python gives them: an array of float32, or a StoredRows that holds narrower elements.
#pragma once

#include <optional>
#include <string_view>

#include "bindings/arrays.hpp"
#include "search/request.hpp"

namespace fastembed::bindings {

/// Rows of 16 or 8 bits, with the arrays they are in.
class StoredRows {
 public:
  StoredRows(std::string_view storage, py::object elements, std::optional<ContiguousArray<float>> scales);

  [[nodiscard]] const search::StoredRows& rows() const noexcept { return rows_; }
  /// Some of the rows, by any key that NumPy takes for the first axis and leaves two dimensions.
  [[nodiscard]] StoredRows at(const py::object& key) const;

 private:
  py::object elements_;
  std::optional<ContiguousArray<float>> scales_;
  search::StoredRows rows_;
};

/// The rows of `given`, which must outlive them.
search::StoredRows index_rows(const py::object& given, const char* name);

void bind_index_rows(py::module_& m);

}  // namespace fastembed::bindings
