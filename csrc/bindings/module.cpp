// clinaug_fast._native: the table of contents of the extension. It knows neither torch nor numpy.
#include "bindings/bindings.hpp"

namespace {

// The instruction set that the kernels were compiled for.
constexpr const char* instruction_set() {
#if defined(__AVX512F__)
  return "avx512";
#elif defined(__AVX2__)
  return "avx2";
#elif defined(__x86_64__)
  return "x86-64 baseline (SSE2)";
#elif defined(__ARM_NEON)
  return "neon";
#else
  return "portable";
#endif
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "clinaug-fast kernels on plain buffers; use clinaug_fast.native or clinaug_fast.ops";
  module.attr("compiler") = CLINAUG_COMPILER;
  module.attr("instruction_set") = instruction_set();
  module.attr("cuda_compiler") = CLINAUG_CUDA_COMPILER;
  clinaug::bindings::bind_log_mel(module);
  clinaug::bindings::bind_audio(module);
  clinaug::bindings::bind_residual_se(module);
}
