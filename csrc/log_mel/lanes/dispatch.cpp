#include "log_mel/lanes/dispatch.hpp"

namespace clinaug::lanes {

namespace avx512 { extern const Kernel<float> kernel; }
namespace avx512_double { extern const Kernel<double> kernel; }
namespace avx2 { extern const Kernel<float> kernel; }
namespace avx2_double { extern const Kernel<double> kernel; }
namespace baseline { extern const Kernel<float> kernel; }
namespace baseline_double { extern const Kernel<double> kernel; }

template <>
const Kernel<float>& kernel_of([[maybe_unused]] InstructionSet set) {
#ifdef CLINAUG_HAS_AVX512
  if (set == InstructionSet::avx512) return avx512::kernel;
#endif
#ifdef CLINAUG_HAS_AVX2
  if (set == InstructionSet::avx2) return avx2::kernel;
#endif
  return baseline::kernel;
}

template <>
const Kernel<double>& kernel_of([[maybe_unused]] InstructionSet set) {
#ifdef CLINAUG_HAS_AVX512
  if (set == InstructionSet::avx512) return avx512_double::kernel;
#endif
#ifdef CLINAUG_HAS_AVX2
  if (set == InstructionSet::avx2) return avx2_double::kernel;
#endif
  return baseline_double::kernel;
}

template <class Real>
const Kernel<Real>* half_kernel_of([[maybe_unused]] InstructionSet set) {
#if defined(CLINAUG_HAS_AVX2) && defined(CLINAUG_SETS_ROUND_ALIKE)
  if (set == InstructionSet::avx512) return &kernel_of<Real>(InstructionSet::avx2);
#endif
  return nullptr;
}

template const Kernel<float>* half_kernel_of(InstructionSet);
template const Kernel<double>* half_kernel_of(InstructionSet);

}  // namespace clinaug::lanes
