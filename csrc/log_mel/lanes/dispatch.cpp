#include "log_mel/lanes/dispatch.hpp"

namespace clinaug::lanes {

namespace avx512 { extern const Kernel kernel; }
namespace avx2 { extern const Kernel kernel; }
namespace baseline { extern const Kernel kernel; }

const Kernel& kernel_of(InstructionSet set) {
#ifdef CLINAUG_HAS_AVX512
  if (set == InstructionSet::avx512) return avx512::kernel;
#endif
#ifdef CLINAUG_HAS_AVX2
  if (set == InstructionSet::avx2) return avx2::kernel;
#endif
  return baseline::kernel;
}

}  // namespace clinaug::lanes
