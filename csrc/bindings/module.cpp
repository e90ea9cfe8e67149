// clinaug_fast._native: the table of contents of the extension. It knows neither torch nor numpy.
#include "bindings/bindings.hpp"

PYBIND11_MODULE(_native, module) {
  module.doc() = "clinaug-fast kernels on plain buffers; use clinaug_fast.native or clinaug_fast.ops";
  module.attr("compiler") = CLINAUG_COMPILER;
  module.attr("cuda_compiler") = CLINAUG_CUDA_COMPILER;
  clinaug::bindings::bind_log_mel(module);
  clinaug::bindings::bind_audio(module);
  clinaug::bindings::bind_files(module);
  clinaug::bindings::bind_residual_se(module);
}
