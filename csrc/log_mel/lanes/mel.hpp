// Power spectra of a tile -> log-mel rows, and in single precision which frames deserve more.
#pragma once

#include "log_mel/lanes/logarithm.hpp"
#include "log_mel/lanes/tables.hpp"
#include "log_mel/lanes/vector.hpp"

namespace clinaug::lanes::CLINAUG_LANES_SET {

inline constexpr bool kSingle = sizeof(Real) == sizeof(float);

// Of one group of frames: its power, and the level of its weakest band; see tables.hpp.
struct Doubts {
  V power = {};
  V weakest = V{} + Real(3e38);

  inline void band(const Tables& tables, int m, V value) {
    power += tables.doubt.shares[m] * value;
    const V quiet = V{} + tables.doubt.quiet;
    const V level = value < tables.mel.floor * Real(0.5) ? quiet : tables.doubt.inverse_widths[m] * value;
    weakest = level < weakest ? level : weakest;
  }

  // Below kFaint bins may have been denormal numbers, above kLoud infinite; nothing sure is said of NaN.
  inline void judge(const Tables& tables, std::int32_t* doubtful) const {
    constexpr Real kFaint = Real(1e-30), kLoud = Real(1e37);
    const V level = tables.magnitude ? weakest * weakest : weakest;
    const auto sure = (level >= power * tables.doubt.noise + kFaint) & (power < kLoud);
    for (int i = 0; i < kLanes; ++i) doubtful[i] = sure[i] == 0;
  }
};

// `groups` groups of frames, bin k of them at power[k * kTogether]. A band is complete when the segment it falls in is
// done. Even and odd bins have sums of their own, for shorter chains of additions and smaller errors.
template <int groups, bool denormals>
static void mel_rows(const Tables& tables, const V* power, Doubts* doubts, Real* out, Index out_stride) {
  const Mel& mel = tables.mel;
  const Real* slopes = mel.slopes;
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
      if constexpr (kSingle) doubts[g].band(tables, s - 1, value);
      store(out + (s - 1) * out_stride + g * kLanes, value <= mel.floor ? silence : y);
    }
  }
}

// The bins [begin, end) that no band counts whole.
template <int groups>
static void add_bins(const V* power, Index begin, Index end, Doubts* doubts) {
  for (Index k = begin; k < end; ++k) {
    for (int g = 0; g < groups; ++g) doubts[g].power += power[k * kTogether + g];
  }
}

template <int groups>
static void log_mel_rows(const Tables& tables, V* power, std::int32_t* doubtful, Real* out, Index out_stride) {
  Doubts doubts[groups];
  if constexpr (kSingle) {
    add_bins<groups>(power, 0, tables.doubt.inner_begin, doubts);
    add_bins<groups>(power, tables.doubt.inner_end, tables.n_bins, doubts);
  }
  if (tables.magnitude) {
    Real* values = reinterpret_cast<Real*>(power);
    const Index n = tables.n_bins * kTogether * kLanes;
    for (Index i = 0; i < n; ++i) values[i] = kSingle ? __builtin_sqrtf(values[i]) : __builtin_sqrt(values[i]);
  }
  tables.mel.floor < kSmallestNormal ? mel_rows<groups, true>(tables, power, doubts, out, out_stride)
                                     : mel_rows<groups, false>(tables, power, doubts, out, out_stride);
  if constexpr (kSingle) {
    for (int g = 0; g < groups; ++g) doubts[g].judge(tables, doubtful + g * kLanes);
  }
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
