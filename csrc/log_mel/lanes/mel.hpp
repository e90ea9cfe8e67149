// Power spectra of a tile -> log-mel rows.
#pragma once

#include "log_mel/lanes/tables.hpp"
#include "log_mel/lanes/vector.hpp"

namespace clinaug::lanes::CLINAUG_LANES_SET {

inline constexpr float kSmallestNormal = 1.17549435e-38f;

// ln(x) for x >= 0 to about one unit in the last place; NaN stays NaN, infinity infinity.
// x = 2^e m, sqrt(1/2) <= m < sqrt(2); ln m = f P(f) with f = m - 1. `denormals`: x may be smaller than 2^-126.
template <bool denormals>
static inline V natural_log(V x) {
  constexpr std::int32_t kRootHalf = 0x3f3504f3;  // sqrt(1/2) as bits
  IntV bits, extra = {};
  if constexpr (denormals) {
    const IntV tiny = x < kSmallestNormal;
    bits = reinterpret_cast<IntV>(tiny ? x * 33554432.0f : x) - kRootHalf;  // 2^25
    extra = tiny & 25;
  } else {
    bits = reinterpret_cast<IntV>(x) - kRootHalf;
  }
  const V e = __builtin_convertvector((bits >> 23) - extra, V);
  const V f = reinterpret_cast<V>((bits & 0x007fffff) + kRootHalf) - 1.0f;
  V p = f * 8.7336260184e-2f - 1.4441878251e-1f;  // of least largest error, 6e-9
  p = p * f + 1.4979288806e-1f;
  p = p * f - 1.6552334497e-1f;
  p = p * f + 1.9953613126e-1f;
  p = p * f - 2.5002491058e-1f;
  p = p * f + 3.3334225451e-1f;
  p = p * f - 4.9999981981e-1f;
  p = p * f + 1.0f;
  const V value = (p * f - e * 2.12194440e-4f) + e * 0.693359375f;  // ln 2 in two parts: the large product is exact
  const V infinity = V{} + __builtin_inff();
  return x < infinity ? value : x;
}

// `groups` groups of frames, bin k of them at power[k * kTogether]. A band is complete when the segment it falls in is
// done. Even and odd bins have sums of their own, for shorter chains of additions and smaller errors.
template <int groups, bool denormals>
static void mel_rows(const Mel& mel, const V* power, float* out, Index out_stride) {
  const float* slopes = mel.slopes;
  const V* bin = power + mel.starts[0] * kTogether;
  V rising[groups] = {};
  for (int s = 0; s <= mel.n_mels; ++s) {
    V band[groups], next[groups] = {}, odd_band[groups] = {}, odd_next[groups] = {};
    for (int g = 0; g < groups; ++g) band[g] = rising[g];
    Index n = mel.starts[s + 1] - mel.starts[s];
    for (; n >= 2; n -= 2, bin += 2 * kTogether, slopes += 4) {
      for (int g = 0; g < groups; ++g) {
        const V even = bin[g], odd = bin[kTogether + g];
        band[g] += slopes[0] * even;
        next[g] += slopes[1] * even;
        odd_band[g] += slopes[2] * odd;
        odd_next[g] += slopes[3] * odd;
      }
    }
    if (n == 1) {
      for (int g = 0; g < groups; ++g) {
        band[g] += slopes[0] * bin[g];
        next[g] += slopes[1] * bin[g];
      }
      bin += kTogether;
      slopes += 2;
    }
    for (int g = 0; g < groups; ++g) {
      rising[g] = next[g] + odd_next[g];
      if (s == 0) continue;
      const V value = band[g] + odd_band[g];
      const V silence = V{} + mel.log_floor;
      const V y = natural_log<denormals>(value) * mel.log_scale;
      store(out + (s - 1) * out_stride + g * kLanes, value <= mel.floor ? silence : y);
    }
  }
}

template <int groups>
static void mel_rows(const Mel& mel, const V* power, float* out, Index out_stride) {
  mel.floor < kSmallestNormal ? mel_rows<groups, true>(mel, power, out, out_stride)
                              : mel_rows<groups, false>(mel, power, out, out_stride);
}

static void log_mel_rows(const Tables& tables, V* power, Index n_groups, float* out, Index out_stride) {
  if (tables.magnitude) {
    float* values = reinterpret_cast<float*>(power);
    const Index n = tables.n_bins * kTogether * kLanes;
    for (Index i = 0; i < n; ++i) values[i] = __builtin_sqrtf(values[i]);
  }
  n_groups == kTogether ? mel_rows<kTogether>(tables.mel, power, out, out_stride)
                        : mel_rows<1>(tables.mel, power, out, out_stride);
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
