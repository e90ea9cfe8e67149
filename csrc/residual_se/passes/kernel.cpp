// The passes of residual_se for one instruction set; compiled once for each, see vector.hpp.
#include "residual_se/passes/excite.hpp"
#include "residual_se/passes/layers.hpp"
#include "residual_se/passes/sums.hpp"

namespace clinaug::se::CLINAUG_LANES_SET {
namespace {

template <class T>
constexpr Kernel<T> make_kernel() {
  using Real = Accumulator<T>;
  return {sums<T>,        weighted_sums<T>, excite<T>,     excite_backward<T>,
          dots<Real>,     products<Real>,   sigmoid<Real>, sizeof(T) * Lanes<Real>::n,
          kHasSigns<Real> ? Lanes<Real>::n : 0};
}

}  // namespace

extern const Kernel<float> float_kernel;
extern const Kernel<double> double_kernel;
extern const Kernel<Bfloat16> bfloat16_kernel;
const Kernel<float> float_kernel = make_kernel<float>();
const Kernel<double> double_kernel = make_kernel<double>();
const Kernel<Bfloat16> bfloat16_kernel = make_kernel<Bfloat16>();

}  // namespace clinaug::se::CLINAUG_LANES_SET
