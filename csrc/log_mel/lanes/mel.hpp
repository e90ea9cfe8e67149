// Power spectra of a tile -> log-mel rows, and in single precision which way each frame needs.
#pragma once

#include "log_mel/lanes/logarithm.hpp"
#include "log_mel/lanes/tables.hpp"
#include "log_mel/lanes/vector.hpp"

namespace clinaug::lanes::CLINAUG_LANES_SET {

// Of a band, see tables.hpp.
static inline V level_of(const Doubt& doubt, int m, V value, Real floor) {
  return doubt.inverse_widths[m] * (value < floor * Real(0.5) ? V{} + doubt.quiet : value);
}

// Of one group of frames: its power, and the level of its weakest band; see tables.hpp.
struct Doubts {
  V power = {};
  V weakest = V{} + Real(3e38);

  // Knows no floor, and so doubts the frames that have a silent band.
  inline void look(const Doubt& doubt, int m, V value) { add(doubt.shares[m] * value, doubt.inverse_widths[m] * value); }

  inline void look_closely(const Doubt& doubt, int m, V value, Real floor) {
    add(doubt.shares[m] * value, level_of(doubt, m, value, floor));
  }

  // Below kFaint bins may have been denormal numbers, above kLoud infinite; nothing sure is said of NaN.
  inline V limit(const Tables& tables) const { return power * tables.noise + kFaint; }

  inline auto finite() const { return power < kLoud; }

  inline auto sure(const Tables& tables) const {
    const V level = tables.magnitude ? weakest * weakest : weakest;
    return (level >= limit(tables)) & finite();
  }

 private:
  static constexpr Real kFaint = Real(1e-30), kLoud = Real(1e37);

  inline void add(V share, V level) {
    power += share;
    weakest = level < weakest ? level : weakest;
  }
};

// Of one group of frames whose power is known: how many bands lie below the limit, and whether any does by more than
// its relief; see tables.hpp.
struct Dips {
  V limit;
  V n = {};
  V weakest = V{} + Real(3e38);

  inline void look(const Tables& tables, int m, V value) {
    const V level = level_of(tables.doubt, m, value, tables.mel.floor);
    const V power = tables.magnitude ? level * level : level, relieved = power * tables.reliefs[m];
    n += power < limit ? V{} + Real(1) : V{};
    weakest = relieved < weakest ? relieved : weakest;
  }

  inline auto sure() const { return (n <= Real(1)) & (weakest >= limit); }
};

template <int groups>
static inline void add_bin(const V* bin, Index stride, const Real* slopes, V* band, V* next) {
  const auto [falling, rise] = groups == 1 ? splat_pair_by_one_load(slopes) : splat_pair(slopes);
  for (int g = 0; g < groups; ++g) {
    const V value = loaded_once(bin[g * stride]);
    band[g] += falling * value;
    next[g] += rise * value;
  }
}

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
      add_bin<groups>(bin, stride, slopes, band, next);
      add_bin<groups>(bin + 1, stride, slopes + 2, odd_band, odd_next);
    }
    if (n == 1) {
      add_bin<groups>(bin, stride, slopes, band, next);
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

// A doubtful group is looked at again with the floor and single dips in mind, and if that does not help, for what pre-emphasis
// would make of it. A function of its own: inlined, it would take registers from mel_rows.
__attribute__((noinline)) static void judge_closely(const Tables& tables, const V* power, const Doubts& doubts, V emphasised_outside,
                                                    Way* needs) {
  Dips dips;
  dips.limit = doubts.limit(tables);
  for_each_band<1>(tables.mel, power, tables.spectrum_size, [&](int m, int, V value) { dips.look(tables, m, value); });
  const auto sure = dips.sure() & doubts.finite();
  if (holds_in_all_lanes(sure)) return;
  Doubts emphasised;
  emphasised.power = emphasised_outside;
  for_each_band<1>(tables.mel, power, tables.spectrum_size,
                   [&](int m, int, V value) { emphasised.look_closely(tables.emphasised, m, value, tables.mel.floor); });
  const auto sure_emphasised = emphasised.sure(tables);
  for (int i = 0; i < kLanes; ++i) {
    if (!sure[i]) needs[i] = sure_emphasised[i] ? Way::emphasised : Way::full;
  }
}

template <int groups, class Out>
static void judge(const Tables& tables, const V* power, const Doubts* doubts, const V* emphasised_outside, Way* needs,
                  const Group<Out>* of) {
  for (int g = 0; g < groups; ++g) {
    Way* const of_group = needs + of[g].column;
    for (int i = 0; i < kLanes; ++i) of_group[i] = Way::plain;
    if (holds_in_all_lanes(doubts[g].sure(tables))) continue;
    judge_closely(tables, power + g * tables.spectrum_size, doubts[g], emphasised_outside[g], of_group);
  }
}

template <int groups, class Out>
static void log_mel_rows(const Tables& tables, V* power, Way* needs, const Group<Out>* to) {
  Doubts doubts[groups];
  V emphasised_outside[groups] = {};  // the power with pre-emphasis of the bins that no band counts whole
  if constexpr (kSingle) {
    const auto add = [&](Index begin, Index end) {
      for (Index k = begin; k < end; ++k) {
        for (int g = 0; g < groups; ++g) {
          const V bin = power[g * tables.spectrum_size + k];
          doubts[g].power += bin;
          emphasised_outside[g] += tables.gains[k] * bin;
        }
      }
    };
    add(0, tables.inner_begin);
    add(tables.inner_end, tables.n_slots);
  }
  if (tables.magnitude) {
    for (int g = 0; g < groups; ++g) {
      Real* values = reinterpret_cast<Real*>(power + g * tables.spectrum_size);
      for (Index i = 0; i < tables.n_slots * kLanes; ++i) values[i] = kSingle ? __builtin_sqrtf(values[i]) : __builtin_sqrt(values[i]);
    }
  }
  tables.mel.floor < kSmallestNormal ? mel_rows<groups, true>(tables, power, doubts, to)
                                     : mel_rows<groups, false>(tables, power, doubts, to);
  if constexpr (kSingle) judge<groups>(tables, power, doubts, emphasised_outside, needs, to);
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
