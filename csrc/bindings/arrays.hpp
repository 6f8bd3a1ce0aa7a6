// The only file that touches py::array: memory-safe views of arguments and arrays that own C++ memory. Meaning is
// checked in Python (_validate.py); what is checked here is what would otherwise read or write out of bounds.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace fastembed::bindings {

namespace py = pybind11;

/// A C-contiguous array of exactly T: pybind11 must not convert, so a wrong dtype is a TypeError.
template <class T>
using ContiguousArray = py::array_t<T, py::array::c_style>;

/// An array of any elements.
using AnyArray = py::array;

/// An array of exactly T in any layout.
template <class T>
using StridedArray = py::array_t<T, 0>;

template <class T>
std::span<const T> view_1d(const ContiguousArray<T>& array, const char* name) {
  if (array.ndim() != 1) {
    throw std::invalid_argument(std::string(name) + " must have 1 dimension, got " + std::to_string(array.ndim()));
  }
  return {array.data(), static_cast<std::size_t>(array.size())};
}

template <class T>
std::span<T> writable_view_1d(ContiguousArray<T>& array, const char* name) {
  if (array.ndim() != 1) {
    throw std::invalid_argument(std::string(name) + " must have 1 dimension, got " + std::to_string(array.ndim()));
  }
  return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

/// `given` as an array of exactly T in any layout; something else is a TypeError.
template <class T>
StridedArray<T> as_array_of(const py::object& given, const char* name) {
  if (!py::isinstance<StridedArray<T>>(given)) {
    throw py::type_error(std::string(name) + " must be an ndarray of " + std::string(py::str(py::dtype::of<T>())));
  }
  return py::reinterpret_borrow<StridedArray<T>>(given);
}

/// The memory of a matrix that must have this shape.
template <class T>
const T* view_rows(const ContiguousArray<T>& array, const char* name, std::size_t rows, std::size_t columns) {
  if (array.ndim() != 2 || static_cast<std::size_t>(array.shape(0)) != rows ||
      static_cast<std::size_t>(array.shape(1)) != columns) {
    throw std::invalid_argument(std::string(name) + " must have shape (" + std::to_string(rows) + ", " +
                                std::to_string(columns) + ")");
  }
  return array.data();
}

/// What a matrix of rows looks like in memory.
template <class T>
struct RowsView {
  const T* data;
  std::size_t rows;
  std::size_t columns;
  std::size_t stride;  // elements from row to row
};

/// The rows of a matrix with unit inner stride, to be read: they may overlap, as windows of a sequence do.
template <class T>
RowsView<T> strided_rows(const StridedArray<T>& array, const char* name) {
  if (array.ndim() != 2) throw std::invalid_argument(std::string(name) + " must have 2 dimensions");
  const auto item = static_cast<py::ssize_t>(sizeof(T));
  const bool one_row = array.shape(0) <= 1;
  const bool aligned = reinterpret_cast<std::uintptr_t>(array.data()) % sizeof(T) == 0;
  const bool unit = array.shape(0) == 0 || array.shape(1) <= 1 || array.strides(1) == item;
  const bool forward = one_row || (array.strides(0) > 0 && array.strides(0) % item == 0);
  if (!aligned || !unit || !forward) {
    throw std::invalid_argument(std::string(name) + " must be aligned rows of unit inner stride");
  }
  const auto columns = static_cast<std::size_t>(array.shape(1));
  return {array.data(), static_cast<std::size_t>(array.shape(0)), columns,
          one_row ? columns : static_cast<std::size_t>(array.strides(0) / item)};
}

/// As strided_rows, to be written: no element belongs to two rows.
inline RowsView<float> separate_rows(const StridedArray<float>& array, const char* name) {
  const RowsView<float> view = strided_rows(array, name);
  if (view.stride < view.columns)
    throw std::invalid_argument(std::string(name) + " must have rows that do not overlap");
  return view;
}

/// An array over memory obtained from malloc or aligned_alloc; the array frees it.
template <class T>
py::array_t<T> adopt(T* memory, std::vector<py::ssize_t> shape) {
  const py::capsule owner(memory, [](void* pointer) { std::free(pointer); });
  return py::array_t<T>(std::move(shape), memory, owner);
}

/// A 1-D array that takes over a vector.
template <class T>
py::array_t<T> adopt(std::vector<T>&& values) {
  auto* held = new std::vector<T>(std::move(values));
  const py::capsule owner(held, [](void* pointer) { delete static_cast<std::vector<T>*>(pointer); });
  return py::array_t<T>(static_cast<py::ssize_t>(held->size()), held->data(), owner);
}

/// A 1-D array of `count` elements over the memory of an owner with data(), which it takes over.
template <class T, class Owner>
py::array_t<T> adopt_from(Owner&& owner, std::size_t count) {
  auto* held = new Owner(std::forward<Owner>(owner));
  const py::capsule keeper(held, [](void* pointer) { delete static_cast<Owner*>(pointer); });
  return py::array_t<T>(static_cast<py::ssize_t>(count), static_cast<const T*>(held->data()), keeper);
}

/// Checks for signals with the GIL held: Ctrl-C becomes py::error_already_set. For run_workers' tick.
inline void check_signals() {
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

}  // namespace fastembed::bindings
