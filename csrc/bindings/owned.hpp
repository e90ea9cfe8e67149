// Memory that was filled here and that numpy takes over as it is, through the buffer protocol.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "common/fresh.hpp"

namespace clinaug::bindings {

namespace py = pybind11;

template <class T>
struct Owned {
  Fresh<T> values;
};

template <class T>
void bind_owned(py::module_& module, const char* name) {
  py::class_<Owned<T>>(module, name, py::buffer_protocol()).def_buffer([](Owned<T>& owned) {
    return py::buffer_info(owned.values.data(), static_cast<py::ssize_t>(owned.values.size()));
  });
}

}  // namespace clinaug::bindings
