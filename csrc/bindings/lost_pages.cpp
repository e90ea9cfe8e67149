// A page of a mapped file that cannot be had (its disk fails, or it was cut short meanwhile) comes as a signal, from which nothing
// returns: the process tells it and ends.
#include <csignal>
#include <string>
#include <utility>

#include "bindings/bindings.hpp"
#ifdef SIGBUS
#include <unistd.h>
#endif

namespace py = pybind11;

namespace clinaug::bindings {
namespace {

#ifdef SIGBUS

std::string to_stderr, to_stdout;
int exit_code = 0;
struct sigaction before;
bool telling = false;

void put(int descriptor, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(descriptor, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<std::size_t>(n);
  }
}

void tell(int) {
  put(STDERR_FILENO, to_stderr);
  put(STDOUT_FILENO, to_stdout);
  ::_exit(exit_code);
}

void stop_telling() {
  if (telling) ::sigaction(SIGBUS, &before, nullptr);
  telling = false;
}

void tell_of_lost_pages(std::string error, std::string result, int code) {
  stop_telling();
  to_stderr = std::move(error);
  to_stdout = std::move(result);
  exit_code = code;
  struct sigaction action = {};
  action.sa_handler = tell;
  telling = ::sigaction(SIGBUS, &action, &before) == 0;
}

#else

void stop_telling() {}
void tell_of_lost_pages(const std::string&, const std::string&, int) {}

#endif

}  // namespace

void bind_lost_pages(py::module_& module) {
  module.def("tell_of_lost_pages", &tell_of_lost_pages, py::arg("error"), py::arg("result"), py::arg("exit_code"),
             "from now on, where a page of a mapped file cannot be had, print these to stderr and stdout and end with that code");
  module.def("stop_telling", &stop_telling, "have such a signal do what it did before");
}

}  // namespace clinaug::bindings
