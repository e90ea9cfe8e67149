#include <memory>
#include <stdexcept>

#include "bindings/bindings.hpp"
#include "bindings/contract.hpp"
#include "log_mel/device/launch.hpp"

namespace clinaug::bindings {
namespace {

using device::Plan;

py::bytes tables(const Plan& plan) {
  return {reinterpret_cast<const char*>(plan.tables().data()), plan.tables().size()};
}

// Addresses are of the device; `tables` is a copy there of what tables() gives.
void run(const Plan& plan, std::uintptr_t tables, std::uintptr_t x, bool int16, std::int64_t batch, std::int64_t n_samples,
         std::int64_t row_stride, std::uintptr_t out, bool half_out, int device, std::uintptr_t stream) {
#ifdef CLINAUG_HAS_CUDA
  if (tables % 16 != 0) throw std::invalid_argument("log_mel: the tables are not aligned to 16 bytes");
  const device::Waveforms waveforms{reinterpret_cast<const void*>(x), int16, batch, n_samples, row_stride};
  const auto* copied = reinterpret_cast<const void*>(tables);
  device::launch_log_mel(plan, waveforms, reinterpret_cast<void*>(out), half_out, copied, {device, stream});
#else
  static_cast<void>(plan), static_cast<void>(tables), static_cast<void>(x), static_cast<void>(int16), static_cast<void>(batch);
  static_cast<void>(n_samples), static_cast<void>(row_stride), static_cast<void>(out), static_cast<void>(half_out);
  static_cast<void>(device), static_cast<void>(stream);
  throw std::runtime_error("log_mel: this build has no CUDA kernels. Put nvcc on PATH and install clinaug-fast again");
#endif
}

}  // namespace

void bind_log_mel_device(py::module_& module) {
  py::dict sizes;
  for (const auto& [n_fft, shared_bytes] : device::log_mel_sizes()) sizes[py::int_(n_fft)] = shared_bytes;
  module.attr("log_mel_cuda_sizes") = sizes;  // the n_fft that have a kernel -> bytes of shared memory that a block takes
  py::class_<Plan>(module, "LogMelCudaPlan", "log_mel of one contract on a GPU; ValueError where its n_fft has no kernel.")
      .def(py::init([](const py::dict& contract) { return std::make_unique<Plan>(parse_params(contract)); }), py::arg("contract"))
      .def("tables", &tables, "what must lie on the device, as bytes")
      .def("run", &run, py::arg("tables"), py::arg("x"), py::arg("int16"), py::arg("batch"), py::arg("n_samples"),
           py::arg("row_stride"), py::arg("out"), py::arg("half_out"), py::arg("device"), py::arg("stream"),
           "queue (batch, n_samples) float32|int16 -> (batch, n_mels, n_frames) float32|float16: addresses on the device");
}

}  // namespace clinaug::bindings
