// The last phase of a tile: mel bands, floor, logarithm, and the only writes to memory.
//
// A band is a run of bins and their weights. A team of threads has one band at a time: each a part of its bins, some
// frames abreast, so that a weight is fetched once for all of them. Bands have many bins or few; `plan.cpp` deals them out so
// that the teams of a warp are done together and warps have about the same to do.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "common/convert.hpp"
#include "log_mel/device/call.hpp"

namespace clinaug::device {

CLINAUG_HOST_DEVICE float log2_of(float v) {
#if defined(__CUDA_ARCH__)
  float log;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(log) : "f"(v));  // 2 ulp; what C++ asks for scales denormal numbers, of which v is none
  return log;
#else
  return std::log2(v);
#endif
}

// A NaN is not below the floor: it stays.
template <class Out>
CLINAUG_HOST_DEVICE Out log_of(const Call& call, float sum) {
  const bool tiny = sum < std::numeric_limits<float>::min();  // others may overflow by the lift
  const float log = call.log2_scale * log2_of(tiny ? sum * call.lift : sum) + (tiny ? call.log_lift : 0.0f);
  return narrow<Out>(sum < call.floor ? call.log_floor : log);
}

// Frame j of a tile: where its band 0 goes.
template <class S, class Out>
CLINAUG_HOST_DEVICE Out* target_of(const Call& call, std::int32_t tile, int j) {
  const std::int32_t frame = tile * S::F::frames + j;
  return static_cast<Out*>(call.out) + (call.by_waveform.quotient(frame) * call.other_bands + frame);
}

// What a thread does in the phase: in every round, its part of a band of its team's; then the parts are added, and each thread
// is left with the sums of some of the team's frames, which it writes. What a round needs first is asked for in the one before,
// and which band that will be in the one before that.
template <class S, class Out, int split_, class Powers>
class BandSums {
 public:
  static constexpr int abreast = S::F::abreast, lanes = S::lanes, split = split_;
  static constexpr int team = lanes * split;  // neighbours, within a warp
  static constexpr int own = abreast > split ? abreast / split : 1;
  using Sum = Abreast<abreast>;

  CLINAUG_HOST_DEVICE BandSums(const Call& call, std::int32_t tile, int live, Powers powers, std::uint32_t thread)
      : call_(call), powers_(powers) {
    part_ = static_cast<int>(thread / lanes % split);
    weights_ = call.weights + part_;
    bands_ = call.bands + thread / team;
    next_ = constant(bands_);
    after_ = constant(bands_ += S::F::threads / team);
    const int lane = static_cast<int>(thread % lanes), first = lane + first_own() * lanes;
    cell_ = part_ * lanes + lane;
    CLINAUG_UNROLL
    for (int i = 0; i < own; ++i) {
      const bool there = first + i * lanes < live;
      if (there && part_ < abreast) live_ = i + 1;
      out_[i] = target_of<S, Out>(call, tile, there ? first + i * lanes : 0);
    }
    look_ahead();
  }

  CLINAUG_HOST_DEVICE Sum part() {
    band_ = next_, next_ = after_;
    after_ = constant(bands_ += S::F::threads / team);
    const Abreast<4>* weights = weights_ + band_.weights + split;
    Abreast<4> weight = ahead_[0], following = ahead_[1];
    look_ahead();
    Sum sum{};
    int cell = band_.begin * lanes + cell_;
    CLINAUG_ROLLED
    for (int step = 0; step < band_.steps; ++step) {
      weights += split;
      const Abreast<4> later = step + 2 < band_.steps ? constant(weights) : Abreast<4>{};
      Sum power[4];
      CLINAUG_UNROLL
      for (int q = 0; q < 4; ++q) power[q] = powers_[cell + q * team];
      CLINAUG_UNROLL
      for (int q = 0; q < 4; ++q) {
        CLINAUG_UNROLL
        for (int i = 0; i < abreast; ++i) sum.of[i] += weight.of[q] * power[q].of[i];
      }
      weight = following, following = later;
      cell += 4 * team;
    }
    return sum;
  }

  // The parts are added in stages: two threads, `lanes << stage` apart, keep half of their frames each and give the other half,
  // until each has one; from then on both keep it. What this thread gives, and what it does with what it is given:
  static constexpr int kept_in(int stage) { return abreast >> (stage + 1) > 0 ? abreast >> (stage + 1) : 1; }

  template <int stage>
  CLINAUG_HOST_DEVICE float given(const Sum& sum, int i) const {
    if constexpr (abreast >> (stage + 1) == 0) return sum.of[0];
    return upper(stage) ? sum.of[i] : sum.of[kept_in(stage) + i];
  }
  template <int stage>
  CLINAUG_HOST_DEVICE void take(Sum& sum, int i, float other) const {
    float kept = sum.of[i];
    if constexpr (abreast >> (stage + 1) > 0) kept = upper(stage) ? sum.of[kept_in(stage) + i] : kept;
    sum.of[i] = kept + other;
  }

  // sum: of all parts, for this thread's frames.
  CLINAUG_HOST_DEVICE void write(const Sum& sum) const {
    const int live = band_.band < 0 ? 0 : live_;
    // Two numbers of 32 bits are multiplied and added to an address by one instruction.
    const auto row_bytes = static_cast<std::uint32_t>(call_.n_frames) * static_cast<std::uint32_t>(sizeof(Out));
    const std::uint64_t row = static_cast<std::uint64_t>(static_cast<std::uint32_t>(band_.band)) * row_bytes;
    CLINAUG_UNROLL
    for (int i = 0; i < own; ++i) {
      const Out value = log_of<Out>(call_, sum.of[i]);
      if (i < live) *reinterpret_cast<Out*>(reinterpret_cast<std::byte*>(out_[i]) + row) = value;
    }
  }

 private:
  CLINAUG_HOST_DEVICE void look_ahead() {
    ahead_[0] = constant(weights_ + next_.weights);
    ahead_[1] = constant(weights_ + next_.weights + split);
  }
  CLINAUG_HOST_DEVICE bool upper(int stage) const { return (part_ >> stage & 1) != 0; }
  CLINAUG_HOST_DEVICE int first_own() const {
    int first = 0;
    CLINAUG_UNROLL
    for (int stage = 0; 1 << stage < split && 1 << stage < abreast; ++stage) first += upper(stage) ? abreast >> (stage + 1) : 0;
    return first;
  }

  const Call& call_;
  Powers powers_;
  int part_ = 0, live_ = 0, cell_ = 0;
  const Abreast<4>* weights_ = nullptr;
  const Band* bands_ = nullptr;
  Band band_{}, next_{}, after_{};
  Abreast<4> ahead_[2];  // the first weights of the next round's band
  Out* out_[own];
};

// Phase: every band of every frame. teams.run(rounds, make) makes what each thread has to do, and in each round adds the
// parts of a team.
template <class S, class Teams, class Powers>
CLINAUG_HOST_DEVICE void sum_bands(Teams& teams, const Call& call, std::int32_t tile, int live, Powers powers) {
  const auto with_split = [&](auto out) {
    using Out = decltype(out);
    switch (call.split) {
#define CLINAUG_CASE(n)                                                                                                    \
  case n:                                                                                                                  \
    if constexpr (n * S::lanes <= 32) {                                                                                    \
      using Sums = BandSums<S, Out, n, Powers>;                                                                            \
      teams.template run<Sums>(call.rounds, [&](std::uint32_t thread) { return Sums(call, tile, live, powers, thread); }); \
    }                                                                                                                      \
    break;
      CLINAUG_CASE(1)
      CLINAUG_CASE(2)
      CLINAUG_CASE(4)
      CLINAUG_CASE(8)
      CLINAUG_CASE(16)
      CLINAUG_CASE(32)
#undef CLINAUG_CASE
    }
  };
  call.half_out ? with_split(Half{}) : with_split(float{});
}

}  // namespace clinaug::device
