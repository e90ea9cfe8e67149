#include "bindings/bindings.hpp"
#include "bindings/residual_se_call.hpp"

namespace clinaug::bindings {

void bind_residual_se_device(pybind11::module_& module) {
  namespace py = pybind11;
  module.def(
      "residual_se_cuda_scratch",
      [](const py::tuple& call, bool backward) { return se::scratch_size(as_cuda_call(call), backward); }, py::arg("call"),
      py::arg("backward"), "how many numbers of scratch the CUDA kernel asks for");
  module.def(
      "residual_se_cuda_forward",
      [](const py::tuple& call, const py::tuple& at) { se::forward(as_cuda_call(call), as_forward(at)); }, py::arg("call"),
      py::arg("addresses"), "launches the forward kernel of residual_se on the call's device and stream");
  module.def(
      "residual_se_cuda_backward",
      [](const py::tuple& call, const py::tuple& at) { se::backward(as_cuda_call(call), as_backward(at)); }, py::arg("call"),
      py::arg("addresses"), "launches the backward kernels of residual_se on the call's device and stream");
}

}  // namespace clinaug::bindings
