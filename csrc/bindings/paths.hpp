// Paths as the file system has them and as Python's own file functions show them: undecodable bytes are kept in text as
// lone surrogates.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace clinaug::bindings {

namespace py = pybind11;

// Of str, bytes or os.PathLike; ValueError for a NUL inside, which would end the path there.
inline std::string path_bytes(const py::handle& path) {
  PyObject* bytes = nullptr;
  if (PyUnicode_FSConverter(path.ptr(), &bytes) == 0) throw py::error_already_set();
  return py::reinterpret_steal<py::bytes>(bytes);
}

inline py::object path_text(const std::string& bytes) {
  return py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefaultAndSize(bytes.data(), static_cast<py::ssize_t>(bytes.size())));
}

}  // namespace clinaug::bindings
