// clinaug_fast._native: the table of contents of the extension. It knows neither torch nor numpy.
#include "bindings/bindings.hpp"

PYBIND11_MODULE(_native, module) {
  module.doc() = "clinaug-fast kernels on plain buffers; use clinaug_fast.native or clinaug_fast.ops";
  module.attr("compiler") = CLINAUG_COMPILER;
  module.attr("cuda_compiler") = CLINAUG_CUDA_COMPILER;  // "": built without CUDA kernels
  module.attr("cuda_architectures") = CLINAUG_CUDA_COMPILER[0] ? CLINAUG_CUDA_ARCHITECTURES : "";
  pybind11::list kernels;
#ifdef CLINAUG_HAS_CUDA
  kernels.append("log_mel");
  kernels.append("residual_se");
#endif
  module.attr("cuda_kernels") = kernels;
  clinaug::bindings::bind_log_mel(module);
  clinaug::bindings::bind_log_mel_device(module);
  clinaug::bindings::bind_audio(module);
  clinaug::bindings::bind_files(module);
  clinaug::bindings::bind_lost_pages(module);
  clinaug::bindings::bind_residual_se(module);
#ifdef CLINAUG_HAS_CUDA
  clinaug::bindings::bind_residual_se_device(module);
#endif
}
