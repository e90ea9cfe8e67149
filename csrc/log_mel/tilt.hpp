// Whether the spectrum of a clip is far from level, told by a few hundred of its samples, which costs a hundredth of its log-mel or less.
#pragma once

#include <cstdint>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "common/view.hpp"

namespace clinaug {

// The power of runs of samples, and how they correlate with the samples one and two before.
class Tilt {
 public:
  static constexpr std::int64_t kRun = 16, kSamples = kRun + 2;

  // The samples from[0] .. from[kSamples - 1]. A run that holds NaN, infinity or what overflows says nothing.
  template <class In>
  inline void add(const In* from) {
    Four power{}, by_one{}, by_two{};
    for (std::int64_t i = 0; i < kRun; i += kAtOnce) {
      const In *const before = from + i, *const between = before + 1, *const samples = before + 2;
      power += products(samples, samples);
      by_one += products(samples, between);
      by_two += products(samples, before);
    }
    const float all = total(power + by_one + by_two);
    if (all - all != 0.0f) return;
    power_ += power;
    by_one_ += by_one;
    by_two_ += by_two;
  }

  // The samples of white noise do not correlate, within a sixteenth. Those of a tone near a quarter of the rate do with the ones two
  // before alone.
  bool is_steep() const {
    const float power = total(power_), by_one = total(by_one_), by_two = total(by_two_);
    return by_one > kLeast * power || by_one < -kLeast * power || by_two < -kQuarter * power;
  }

 private:
  static constexpr float kLeast = 0.25f, kQuarter = 0.5f;
  static constexpr std::int64_t kAtOnce = 8;

  typedef float Four __attribute__((vector_size(16)));
  typedef Four UnalignedFour __attribute__((aligned(4), may_alias));

  static Four load(const float* from) { return *reinterpret_cast<const UnalignedFour*>(from); }

  // Sums of products of kAtOnce samples.
  static Four products(const float* a, const float* b) { return load(a) * load(b) + load(a + 4) * load(b + 4); }

  static Four products(const std::int16_t* a, const std::int16_t* b) {
#ifdef __SSE2__  // compilers take ten times as many instructions
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a)), y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b));
    const __m128i sums = _mm_madd_epi16(x, y), least = _mm_set1_epi32(INT32_MIN);
    const __m128i turned = _mm_and_si128(_mm_cmpeq_epi32(sums, least), least);  // twice -32768 * -32768, which is no int32
    return _mm_xor_ps(_mm_cvtepi32_ps(sums), _mm_castsi128_ps(turned));
#else
    Four sums{};
    for (std::int64_t i = 0; i < kAtOnce; ++i) sums[i % 4] += static_cast<float>(a[i] * b[i]);
    return sums;
#endif
  }

  static float total(Four sums) { return (sums[0] + sums[1]) + (sums[2] + sums[3]); }

  Four power_{}, by_one_{}, by_two_{};
};

// Of runs that are evenly spaced. In: float, int16.
template <class In>
bool tilts(View<const In, 1> x) {
  constexpr std::int64_t kRuns = 16;
  const std::int64_t last = x.extent[0] - Tilt::kSamples, stride = x.stride[0];
  if (last < 0) return false;
  Tilt tilt;
  for (std::int64_t run = 0; run < kRuns; ++run) {
    const In* const from = x.data + last * run / (kRuns - 1) * stride;
    if (stride == 1) {
      tilt.add(from);
    } else {
      In samples[Tilt::kSamples];
      for (std::int64_t i = 0; i < Tilt::kSamples; ++i) samples[i] = from[i * stride];
      tilt.add(samples);
    }
  }
  return tilt.is_steep();
}

}  // namespace clinaug
