// The one place that turns Python's description of memory into views. A buffer is an object of the buffer protocol, such as
// a numpy array, or a tuple (address, dtype, shape, strides in elements), as of a torch tensor; neither library is needed
// here. Shapes and dtypes are checked by the Python side, which also keeps the memory alive during the call.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/view.hpp"

namespace clinaug::bindings {

namespace py = pybind11;

struct Buffer {
  void* address = nullptr;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in elements
};

inline Buffer from_tuple(const py::tuple& described) {
  return {reinterpret_cast<void*>(described[0].cast<std::uintptr_t>()), described[1].cast<std::string>(),
          described[2].cast<std::vector<std::int64_t>>(), described[3].cast<std::vector<std::int64_t>>()};
}

inline std::string dtype_of(std::string_view format) {
  if (format == "f") return "float32";
  if (format == "d") return "float64";
  if (format == "e") return "float16";
  if (format == "h") return "int16";
  return "of the buffer format '" + std::string(format) + "'";
}

inline Buffer from_protocol(const py::handle& array) {
  Py_buffer seen;
  if (PyObject_GetBuffer(array.ptr(), &seen, PyBUF_STRIDED_RO | PyBUF_FORMAT) != 0) throw py::error_already_set();
  Buffer buffer;
  buffer.address = seen.buf;
  const std::string_view format = seen.format == nullptr ? "B" : seen.format;
  buffer.dtype = dtype_of(format);
  bool whole = true;
  buffer.shape.reserve(seen.ndim + 1);  // and room for a batch of one: short clips are as fast as their calls
  buffer.strides.reserve(seen.ndim + 1);
  for (int i = 0; i < seen.ndim; ++i) {
    buffer.shape.push_back(seen.shape[i]);
    buffer.strides.push_back(seen.strides[i] / seen.itemsize);
    whole = whole && seen.strides[i] % seen.itemsize == 0;
  }
  const bool aligned = !format.starts_with('=');  // as numpy describes items that lie between their places
  PyBuffer_Release(&seen);  // the caller's reference keeps the memory
  if (!whole) throw std::invalid_argument("a stride is no multiple of the item size; expected whole items. Copy the array");
  if (!aligned) throw std::invalid_argument("the items lie between multiples of their size; expected aligned memory. Copy the array");
  return buffer;
}

inline Buffer as_buffer(const py::object& given) {
  return py::isinstance<py::tuple>(given) ? from_tuple(given.cast<py::tuple>()) : from_protocol(given);
}

template <class T, std::size_t Rank>
View<T, Rank> as_view(const Buffer& buffer) {
  if (buffer.shape.size() != Rank || buffer.strides.size() != Rank) {
    throw std::invalid_argument("an array has " + std::to_string(buffer.shape.size()) + " dimensions; expected " + std::to_string(Rank));
  }
  View<T, Rank> view;
  view.data = static_cast<T*>(buffer.address);
  for (std::size_t i = 0; i < Rank; ++i) {
    view.extent[i] = buffer.shape[i];
    view.stride[i] = buffer.strides[i];
  }
  return view;
}

}  // namespace clinaug::bindings
