// scale * ln x of a vector, x >= 0, to about one unit in the last place.
//
// x = 2^e m with sqrt(1/2) <= m < sqrt(2). `denormals`: x may lie below the smallest normal number. In single precision x is
// finite, as frames that hold anything else are computed in double precision; there NaN stays NaN, infinity infinity.
#pragma once

#include "log_mel/lanes/vector.hpp"

namespace clinaug::lanes::CLINAUG_LANES_SET {

inline constexpr float kSmallestNormal = 1.17549435e-38f;

// ln m = f P(f), f = m - 1. P is summed in pairs (Estrin), as term by term each would wait for the one before.
template <bool denormals>
static inline SingleV logarithm(SingleV x, float scale) {
  constexpr std::int32_t kRootHalf = 0x3f3504f3;  // sqrt(1/2) as bits
  IntV bits, extra = {};
  if constexpr (denormals) {
    const IntV tiny = x < kSmallestNormal;
    bits = reinterpret_cast<IntV>(tiny ? x * 33554432.0f : x) - kRootHalf;  // 2^25
    extra = tiny & 25;
  } else {
    bits = reinterpret_cast<IntV>(x) - kRootHalf;
  }
  const SingleV e = __builtin_convertvector((bits >> 23) - extra, SingleV);
  const SingleV f = reinterpret_cast<SingleV>((bits & 0x007fffff) + kRootHalf) - 1.0f;
  const SingleV f2 = f * f, f4 = f2 * f2;
  const SingleV p01 = f * -5.0000584382e-1f + 1.0f;  // of least largest error, 4e-8
  const SingleV p23 = f * -2.4961465085e-1f + 3.3335261397e-1f;
  const SingleV p45 = f * -1.7325995460e-1f + 1.9888276917e-1f;
  const SingleV p67 = f * -1.0034618413e-1f + 1.6335646766e-1f;
  const SingleV p = (p67 * f2 + p45) * f4 + (p23 * f2 + p01);
  return p * (f * scale) + e * (0.693147181f * scale);
}

// ln m = 2 artanh(s), s = (m - 1) / (m + 1), by its series: |s| < 0.172. The floors of a log-mel are no denormal doubles.
template <bool denormals>
static inline DoubleV logarithm(DoubleV x, double scale) {
  constexpr std::int64_t kRootHalf = 0x3fe6a09e667f3bcd;  // sqrt(1/2) as bits
  constexpr int kTerms = 11;
  const LongV bits = reinterpret_cast<LongV>(x) - kRootHalf;
  const DoubleV e = __builtin_convertvector(bits >> 52, DoubleV);
  const DoubleV m = reinterpret_cast<DoubleV>((bits & 0x000fffffffffffff) + kRootHalf);
  const DoubleV s = (m - 1.0) / (m + 1.0), square = s * s;
  DoubleV p = {};
  for (int k = kTerms; k > 0; --k) p = p * square + 2.0 / (2 * k + 1);
  const DoubleV value = (s * (p * square + 2.0) + e * 1.90821492927058770002e-10) + e * 6.93147180369123816490e-01;
  const DoubleV infinity = DoubleV{} + __builtin_inf();
  return (x < infinity ? value : x) * scale;
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
