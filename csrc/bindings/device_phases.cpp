// clinaug_fast._device_phases: the CUDA kernels' phases on the CPU, for the tests only. One function a kernel.
#include "bindings/device_phases.hpp"

#include <pybind11/stl.h>

#include <cstddef>
#include <string>
#include <vector>

#include "common/banks.hpp"
#include "common/phases.hpp"

namespace clinaug::bindings {
namespace {

namespace py = pybind11;

// What the record of shared memory is held to: the sentence it raises, or "" for a well-behaved pair of phases.
std::string watch(const std::string& deed) {
  phases::SharedMemory memory(64);
  phases::Cells<float> cells(memory, 0);
  try {
    if (deed == "two writers") phases::every_thread(memory, 2, [&](int) { cells[0] = 1.0f; });
    if (deed == "read beside a write") {
      phases::every_thread(memory, 2, [&](int t) { t == 0 ? void(cells[0] = 1.0f) : void(float(cells[0])); });
    }
    if (deed == "write beside a read") {
      phases::every_thread(memory, 1, [&](int) { cells[0] = 1.0f; });
      phases::every_thread(memory, 2, [&](int t) { t == 1 ? void(cells[0] = 1.0f) : void(float(cells[0])); });
    }
    if (deed == "never written") phases::every_thread(memory, 1, [&](int) { void(float(cells[3])); });
    if (deed == "left by the last block") {
      phases::every_thread(memory, 1, [&](int) { cells[3] = 1.0f; });
      memory.forget();
      phases::every_thread(memory, 1, [&](int) { void(float(cells[3])); });
    }
    if (deed == "outside") phases::every_thread(memory, 1, [&](int) { cells[16] = 1.0f; });
    if (deed == "after a barrier") {
      phases::every_thread(memory, 8, [&](int t) { cells[t] = 1.0f; });
      phases::every_thread(memory, 8, [&](int t) { cells[8 + t] = cells[7 - t]; });
    }
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// Of one access of a warp, lane by lane: the wavefronts that it takes, and how few they could be.
py::tuple wavefronts(const std::vector<std::size_t>& addresses, std::size_t size) {
  phases::Banks banks;
  for (std::size_t lane = 0; lane < addresses.size(); ++lane) {
    banks.enter(static_cast<int>(lane));
    banks.access(addresses[lane], size);
  }
  const phases::Wavefronts counted = banks.close();
  return py::make_tuple(counted.taken, counted.least);
}

}  // namespace
}  // namespace clinaug::bindings

PYBIND11_MODULE(_device_phases, module) {
  module.doc() = "the CUDA kernels' phases, run on the CPU thread by thread; for the tests";
  clinaug::bindings::bind_log_mel_phases(module);
  module.def("watch", &clinaug::bindings::watch, pybind11::arg("deed"), "what the record of shared memory says to a deed");
  module.def("wavefronts", &clinaug::bindings::wavefronts, pybind11::arg("addresses"), pybind11::arg("size"),
             "the wavefronts of shared memory that a warp's access takes, and how few they could be");
  clinaug::bindings::bind_residual_se_phases(module);
}
