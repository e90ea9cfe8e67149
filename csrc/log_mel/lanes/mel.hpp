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
  V p = f * 7.0376836292e-2f - 1.1514610310e-1f;  // Cephes logf
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  p = p * f - 0.5f;
  p = p * f + 1.0f;
  const V value = (p * f - e * 2.12194440e-4f) + e * 0.693359375f;  // ln 2 in two parts: the large product is exact
  const V infinity = V{} + __builtin_inff();
  return x < infinity ? value : x;
}

// `groups` vectors of frames from power on; a band is complete when the segment it falls in is done. Even and odd bins
// have sums of their own, for shorter chains of additions and smaller errors.
template <int groups, bool denormals>
static void mel_rows(const Mel& mel, const float* power, Index tile, float* out, Index out_stride) {
  const float* slopes = mel.slopes;
  const float* bin = power + mel.starts[0] * tile;
  V rising[groups] = {};
  for (int s = 0; s <= mel.n_mels; ++s) {
    V band[groups], next[groups] = {}, odd_band[groups] = {}, odd_next[groups] = {};
    for (int g = 0; g < groups; ++g) band[g] = rising[g];
    Index n = mel.starts[s + 1] - mel.starts[s];
    for (; n >= 2; n -= 2, bin += 2 * tile, slopes += 4) {
      for (int g = 0; g < groups; ++g) {
        const V even = load(bin + g * kLanes), odd = load(bin + tile + g * kLanes);
        band[g] += slopes[0] * even;
        next[g] += slopes[1] * even;
        odd_band[g] += slopes[2] * odd;
        odd_next[g] += slopes[3] * odd;
      }
    }
    if (n == 1) {
      for (int g = 0; g < groups; ++g) {
        const V p = load(bin + g * kLanes);
        band[g] += slopes[0] * p;
        next[g] += slopes[1] * p;
      }
      bin += tile;
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

template <bool denormals>
static void mel_tile(const Mel& mel, const float* power, Index tile, Index n_groups, float* out, Index out_stride) {
  Index g = 0;
  for (; g + 4 <= n_groups; g += 4) mel_rows<4, denormals>(mel, power + g * kLanes, tile, out + g * kLanes, out_stride);
  for (; g < n_groups; ++g) mel_rows<1, denormals>(mel, power + g * kLanes, tile, out + g * kLanes, out_stride);
}

static void log_mel_rows(const Tables& tables, float* power, Index n_groups, float* out, Index out_stride) {
  if (tables.magnitude) {
    const Index n = tables.n_bins * tables.tile;
    for (Index i = 0; i < n; ++i) power[i] = __builtin_sqrtf(power[i]);
  }
  if (tables.mel.floor < kSmallestNormal) {
    mel_tile<true>(tables.mel, power, tables.tile, n_groups, out, out_stride);
  } else {
    mel_tile<false>(tables.mel, power, tables.tile, n_groups, out, out_stride);
  }
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
