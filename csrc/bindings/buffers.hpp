// The one place that turns Python's description of memory into views. A buffer is a tuple
// (address, dtype, shape, strides in elements), so that numpy arrays and torch tensors look alike and neither library
// is needed here. Shapes and dtypes are checked by the Python side, which also keeps the memory alive during the call.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "common/view.hpp"

namespace clinaug::bindings {

namespace py = pybind11;

struct Buffer {
  void* address;
  std::string dtype;
  py::tuple shape;
  py::tuple strides;
};

inline Buffer as_buffer(const py::tuple& described) {
  return {reinterpret_cast<void*>(described[0].cast<std::uintptr_t>()), described[1].cast<std::string>(),
          described[2].cast<py::tuple>(), described[3].cast<py::tuple>()};
}

template <class T, std::size_t Rank>
View<T, Rank> as_view(const Buffer& buffer) {
  if (buffer.shape.size() != Rank || buffer.strides.size() != Rank) throw std::invalid_argument("buffer of the wrong rank");
  View<T, Rank> view;
  view.data = static_cast<T*>(buffer.address);
  for (std::size_t i = 0; i < Rank; ++i) {
    view.extent[i] = buffer.shape[i].cast<std::int64_t>();
    view.stride[i] = buffer.strides[i].cast<std::int64_t>();
  }
  return view;
}

}  // namespace clinaug::bindings
