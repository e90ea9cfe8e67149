// Native work beside other Python threads.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <cxxabi.h>

namespace clinaug::bindings {

// As py::gil_scoped_release. But Python ends a daemon thread that asks for the lock while the interpreter goes, by an unwinding
// that may not pass a destructor: the process would abort. Here the thread waits for the end.
class WithoutGil {
 public:
  WithoutGil() = default;
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;
  ~WithoutGil() {
#if defined(__GLIBCXX__)
    try {
      PyEval_RestoreThread(state_);
    } catch (const abi::__forced_unwind&) {
      for (;;) pause();
    }
#else
    PyEval_RestoreThread(state_);
#endif
  }

 private:
  PyThreadState* state_ = PyEval_SaveThread();
};

}  // namespace clinaug::bindings
