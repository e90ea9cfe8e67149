// scale * ln x of a vector, x >= 0, to about one unit in the last place: as single precision whatever x is, or as double.
//
// x = 2^e m, start <= m < 2 start. `denormals`: x may lie below the smallest normal number. A single precision x is finite, as
// frames that hold anything else are computed in double precision; there NaN stays NaN, infinity infinity.
#pragma once

#include <type_traits>

#include "log_mel/lanes/vector.hpp"

// AVX2 in double precision has four lanes, and takes the same way as eight: all sets with fused products give the same bits.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shuffle) && (CLINAUG_LANES >= 8 || defined(__AVX2__))
#define CLINAUG_LOOKS_UP
#endif
#endif

namespace clinaug::lanes::CLINAUG_LANES_SET {

inline constexpr float kSmallestNormal = 1.17549435e-38f;

// e, counted in kExponentUnit, and m; the lower three bits of `entry` tell in which eighth of [start, 2 start), by bits, m lies.
struct Parts {
  SingleV e, m;
  IntV entry;
};

// The exponent's weight among the bits from which it is taken: those of a float, or the upper half of a double's.
inline constexpr float kExponentUnit = kSingle ? 0x1p-23f : 0x1p-20f;

// start: the upper half of the bits of a double; the lower one is zero.
template <bool denormals, std::int32_t start>
static inline Parts split(SingleV x) {
  constexpr std::int32_t kStart = (start - ((1023 - 127) << 20)) << 3, kExponent = -1 << 23;
  IntV bits = reinterpret_cast<IntV>(x), extra = {};
  if constexpr (denormals) {
    const IntV tiny = x < kSmallestNormal;
    bits = reinterpret_cast<IntV>(tiny ? x * 33554432.0f : x);  // 2^25
    extra = tiny & (25 << 23);
  }
  const IntV above = bits - kStart, e = above & kExponent;
  return {__builtin_convertvector(e - extra, SingleV), reinterpret_cast<SingleV>(bits - e), above >> 20};
}

// The floors of a log-mel are no denormal doubles.
template <bool denormals, std::int32_t start>
static inline Parts split(DoubleV x) {
  const UnsignedLongV bits = reinterpret_cast<UnsignedLongV>(x);
  const UnsignedLongV beyond = bits - (std::uint64_t{start} << 32), m = bits - (beyond & (~std::uint64_t{0} << 52));
  const IntV above = __builtin_convertvector(beyond >> 32, IntV), e = above & (-1 << 20);
  return {__builtin_convertvector(e, SingleV), __builtin_convertvector(reinterpret_cast<DoubleV>(m), SingleV), above >> 17};
}

// With what a number that is not finite adds to its logarithm.
static inline SingleV with_excess(SingleV logarithm, SingleV) { return logarithm; }
static inline SingleV with_excess(SingleV logarithm, DoubleV x) {
  return logarithm + __builtin_convertvector(x < __builtin_inf() ? DoubleV{} : x, SingleV);
}

#ifdef CLINAUG_LOOKS_UP

// Eight numbers in registers, looked up by the lower three bits of each lane; where a register has no room for all, two hold them.
struct TableOfEight {
  SingleV half[kLanes < 8 ? 2 : 1];

  inline void set(int entry, float value) {
    if constexpr (kLanes < 8) {
      half[entry / kLanes][entry % kLanes] = value;
    } else {
      for (int i = entry; i < kLanes; i += 8) half[0][i] = value;
    }
  }

  inline SingleV operator[](IntV entry) const {
    if constexpr (kLanes < 8) return __builtin_shuffle(half[0], half[1], entry);
    return __builtin_shuffle(half[0], entry);
  }
};

// ln m = ln(1 + r) - ln c, r = c m - 1, with c near 1 / m from a table.
template <bool denormals>
class SingleLogarithm {
 public:
  explicit SingleLogarithm(double scale) : scale_(static_cast<float>(scale)) {
    for (int i = 0; i < 8; ++i) {
      factors_.set(i, kFactors[i]);
      shifts_.set(i, static_cast<float>(kShifts[i] * scale));
    }
  }

  inline SingleV operator()(V x) const {
    const Parts parts = split<denormals, 0x3fef0000>(x);  // 31/32: the first entry's c is 1, its m lie around 1
    const SingleV r = parts.m * factors_[parts.entry] - 1.0f;
    SingleV p = r * (scale_ * -2.3829048533e-1f) + scale_ * 3.3346549121e-1f;  // of least largest error, 1.3e-7
    p = p * r + scale_ * -5.0000952022e-1f;
    p = p * r + scale_;
    return with_excess(p * r + (parts.e * (scale_ * 0.693147181f * kExponentUnit) + shifts_[parts.entry]), x);
  }

 private:
  // 8 / (8 + i), and less the logarithm of what that is once rounded.
  static constexpr float kFactors[] = {1.0f, 0.888888896f, 0.800000012f, 0.727272749f, 0.666666687f, 0.615384638f, 0.571428597f, 0.533333361f};
  static constexpr double kShifts[] = {0.0, 0.117783028, 0.223143536, 0.318453701, 0.405465078, 0.485507779, 0.559615743, 0.628608607};

  TableOfEight factors_, shifts_;
  float scale_;
};

#else

// ln m = f P(f), f = m - 1. P is summed in pairs (Estrin), as term by term each would wait for the one before.
template <bool denormals>
class SingleLogarithm {
 public:
  explicit SingleLogarithm(double scale) : scale_(static_cast<float>(scale)) {}

  inline SingleV operator()(V x) const {
    const Parts parts = split<denormals, 0x3fe6a09e>(x);  // sqrt(1/2)
    const SingleV f = parts.m - 1.0f, f2 = f * f, f4 = f2 * f2;
    const SingleV p01 = f * -5.0000584382e-1f + 1.0f;  // of least largest error, 4e-8
    const SingleV p23 = f * -2.4961465085e-1f + 3.3335261397e-1f;
    const SingleV p45 = f * -1.7325995460e-1f + 1.9888276917e-1f;
    const SingleV p67 = f * -1.0034618413e-1f + 1.6335646766e-1f;
    const SingleV p = (p67 * f2 + p45) * f4 + (p23 * f2 + p01);
    return with_excess(p * (f * scale_) + parts.e * (scale_ * 0.693147181f * kExponentUnit), x);
  }

 private:
  float scale_;
};

#endif

// ln m = 2 artanh(s), s = (m - 1) / (m + 1), by its series: |s| < 0.172.
class DoubleLogarithm {
 public:
  explicit DoubleLogarithm(double scale) : scale_(scale) {}

  inline DoubleV operator()(DoubleV x) const {
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
    return (x < infinity ? value : x) * scale_;
  }

 private:
  double scale_;
};

template <class Out, bool denormals>
using LogarithmTo = std::conditional_t<std::is_same_v<Out, float>, SingleLogarithm<denormals>, DoubleLogarithm>;

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
