// The kernels of an instruction set; each was compiled from kernel.cpp.
#include "residual_se/passes/kernel.hpp"

namespace clinaug::se {

#define CLINAUG_DECLARE_KERNELS(set)              \
  namespace set {                                 \
  extern const Kernel<float> float_kernel;        \
  extern const Kernel<double> double_kernel;      \
  extern const Kernel<Bfloat16> bfloat16_kernel;  \
  }
CLINAUG_DECLARE_KERNELS(avx512)
CLINAUG_DECLARE_KERNELS(avx2)
CLINAUG_DECLARE_KERNELS(baseline)
#undef CLINAUG_DECLARE_KERNELS

namespace {

template <class T>
const Kernel<T>& pick(const Kernel<float>& of_float, const Kernel<double>& of_double, const Kernel<Bfloat16>& of_bfloat16) {
  if constexpr (std::is_same_v<T, float>) return of_float;
  else if constexpr (std::is_same_v<T, double>) return of_double;
  else return of_bfloat16;
}

}  // namespace

template <class T>
const Kernel<T>& kernel_of([[maybe_unused]] InstructionSet set) {
#ifdef CLINAUG_HAS_AVX512
  if (set == InstructionSet::avx512) return pick<T>(avx512::float_kernel, avx512::double_kernel, avx512::bfloat16_kernel);
#endif
#ifdef CLINAUG_HAS_AVX2
  if (set == InstructionSet::avx2) return pick<T>(avx2::float_kernel, avx2::double_kernel, avx2::bfloat16_kernel);
#endif
  return pick<T>(baseline::float_kernel, baseline::double_kernel, baseline::bfloat16_kernel);
}

template const Kernel<float>& kernel_of(InstructionSet);
template const Kernel<double>& kernel_of(InstructionSet);
template const Kernel<Bfloat16>& kernel_of(InstructionSet);

}  // namespace clinaug::se
