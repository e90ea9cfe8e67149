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

  // Knows no floor, and so doubts the frames that have a silent band.
  inline void look(const Doubt& doubt, int m, V value) { add(doubt.shares[m] * value, doubt.inverse_widths[m] * value); }

  inline void look_closely(const Doubt& doubt, int m, V value, Real floor) {
    const V quiet = V{} + doubt.quiet;
    add(doubt.shares[m] * value, value < floor * Real(0.5) ? quiet : doubt.inverse_widths[m] * value);
  }

  // Below kFaint bins may have been denormal numbers, above kLoud infinite; nothing sure is said of NaN.
  inline bool judge(const Tables& tables, std::int32_t* doubtful) const {
    constexpr Real kFaint = Real(1e-30), kLoud = Real(1e37);
    const V level = tables.magnitude ? weakest * weakest : weakest;
    const auto sure = (level >= power * tables.doubt.noise + kFaint) & (power < kLoud);
    std::int32_t any = 0;
    for (int i = 0; i < kLanes; ++i) any |= doubtful[i] = sure[i] == 0;
    return any != 0;
  }

 private:
  inline void add(V share, V level) {
    power += share;
    weakest = level < weakest ? level : weakest;
  }
};

// `groups` groups of frames, `stride` vectors apart; hands each band on to take(m, group, value). A band is
// complete when the segment it falls in is done. Even and odd bins have sums of their own, for shorter chains of additions
// and smaller errors.
template <int groups, class Take>
static inline void for_each_band(const Mel& mel, const V* power, Index stride, const Take& take) {
  const Real* slopes = mel.slopes;
  const V* bin = power + mel.starts[0];
  V rising[groups] = {};
  for (int s = 0; s <= mel.n_mels; ++s) {
    V band[groups], next[groups] = {}, odd_band[groups] = {}, odd_next[groups] = {};
    for (int g = 0; g < groups; ++g) band[g] = rising[g];
    Index n = mel.starts[s + 1] - mel.starts[s];
    for (; n >= 2; n -= 2, bin += 2, slopes += 4) {
      for (int g = 0; g < groups; ++g) {
        const V even = bin[g * stride], odd = bin[g * stride + 1];
        band[g] += slopes[0] * even;
        next[g] += slopes[1] * even;
        odd_band[g] += slopes[2] * odd;
        odd_next[g] += slopes[3] * odd;
      }
    }
    if (n == 1) {
      for (int g = 0; g < groups; ++g) {
        band[g] += slopes[0] * bin[g * stride];
        next[g] += slopes[1] * bin[g * stride];
      }
      bin += 1;
      slopes += 2;
    }
    for (int g = 0; g < groups; ++g) {
      rising[g] = next[g] + odd_next[g];
      if (s > 0) take(s - 1, g, band[g] + odd_band[g]);
    }
  }
}

template <int groups, bool denormals, class Out>
static void mel_rows(const Tables& tables, const V* power, Doubts* doubts, const Group<Out>* to) {
  const Mel mel = tables.mel;
  const Doubt doubt = tables.doubt;
  const LogarithmTo<Out, denormals> logarithm(mel.log_scale);
  using LogV = decltype(logarithm(V{}));
  const LogV silence = LogV{} + static_cast<Out>(mel.log_floor);
  Doubts local[groups];  // stays in registers, as no store can be of the same place
  Group<Out> rows[groups];
  for (int g = 0; g < groups; ++g) {
    local[g] = doubts[g];
    rows[g] = to[g];
  }
  for_each_band<groups>(mel, power, tables.spectrum_size, [&](int m, int g, V value) {
    const LogV y = logarithm(value);
    if constexpr (kSingle) local[g].look(doubt, m, value);
    store(rows[g].first + m * rows[g].stride, silence > y ? silence : y);
  });
  for (int g = 0; g < groups; ++g) doubts[g] = local[g];
}

// Doubtful frames are looked at again with the floor in mind.
template <int groups, class Out>
static void judge(const Tables& tables, const V* power, Doubts* doubts, const V* outside, std::int32_t* doubtful, const Group<Out>* of) {
  bool any = false;
  for (int g = 0; g < groups; ++g) any |= doubts[g].judge(tables, doubtful + of[g].column);
  if (!any) return;
  for (int g = 0; g < groups; ++g) {
    doubts[g] = Doubts{};
    doubts[g].power = outside[g];
  }
  for_each_band<groups>(tables.mel, power, tables.spectrum_size, [&](int m, int g, V value) { doubts[g].look_closely(tables.doubt, m, value, tables.mel.floor); });
  for (int g = 0; g < groups; ++g) doubts[g].judge(tables, doubtful + of[g].column);
}

template <int groups, class Out>
static void log_mel_rows(const Tables& tables, V* power, std::int32_t* doubtful, const Group<Out>* to) {
  Doubts doubts[groups];
  V outside[groups] = {};  // power of the bins that no band counts whole
  if constexpr (kSingle) {
    const auto add = [&](Index begin, Index end) {
      for (Index k = begin; k < end; ++k) {
        for (int g = 0; g < groups; ++g) outside[g] += power[g * tables.spectrum_size + k];
      }
    };
    add(0, tables.doubt.inner_begin);
    add(tables.doubt.inner_end, tables.n_slots);
    for (int g = 0; g < groups; ++g) doubts[g].power = outside[g];
  }
  if (tables.magnitude) {
    for (int g = 0; g < groups; ++g) {
      Real* values = reinterpret_cast<Real*>(power + g * tables.spectrum_size);
      for (Index i = 0; i < tables.n_slots * kLanes; ++i) values[i] = kSingle ? __builtin_sqrtf(values[i]) : __builtin_sqrt(values[i]);
    }
  }
  tables.mel.floor < kSmallestNormal ? mel_rows<groups, true>(tables, power, doubts, to)
                                     : mel_rows<groups, false>(tables, power, doubts, to);
  if constexpr (kSingle) judge<groups>(tables, power, doubts, outside, doubtful, to);
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
