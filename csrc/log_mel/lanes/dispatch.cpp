#include "log_mel/lanes/dispatch.hpp"

namespace clinaug::lanes {

namespace avx512 { extern const Kernel<float> kernel; }
namespace avx512_double { extern const Kernel<double> kernel; }
namespace avx2 { extern const Kernel<float> kernel; }
namespace avx2_double { extern const Kernel<double> kernel; }
namespace baseline { extern const Kernel<float> kernel; }
namespace baseline_double { extern const Kernel<double> kernel; }

Kernels kernels_of(InstructionSet set) {
#ifdef CLINAUG_HAS_AVX512
  if (set == InstructionSet::avx512) return {&avx512::kernel, &avx512_double::kernel};
#endif
#ifdef CLINAUG_HAS_AVX2
  if (set == InstructionSet::avx2) return {&avx2::kernel, &avx2_double::kernel};
#endif
  return {&baseline::kernel, &baseline_double::kernel};
}

}  // namespace clinaug::lanes
