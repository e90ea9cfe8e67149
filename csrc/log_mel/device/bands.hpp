// The last phases of a tile: mel bands, floor, logarithm, and the only writes to memory.
//
// A bin lies between two edges of the triangles: it belongs to the band that falls there and to the one that rises. So a
// walk along the bins reads each once, with both weights, and a band is done when its falling side is. Neighbouring threads
// walk alike in frames of their own, some frames abreast; a group of threads has a run of bands ("chunk"), or, where there
// are more groups than bands, `split` of them share a band bin by bin and their sums are added in a phase of its own.
#pragma once

#include <cmath>

#include "common/convert.hpp"
#include "log_mel/device/call.hpp"

namespace clinaug::device {

CLINAUG_HOST_DEVICE float log2_of(float v) {
#if defined(__CUDA_ARCH__)
  return __log2f(v);  // 2 ulp, one instruction and a scale for subnormal numbers
#else
  return std::log2(v);
#endif
}

// A NaN is not below the floor: it stays.
CLINAUG_HOST_DEVICE void finish(const Call& call, std::int64_t out, int band, float sum) {
  const float value = call.log2_scale * log2_of(sum < call.floor ? call.floor : sum);
  const std::int64_t at = out + band * call.n_frames;
  if (call.half_out) {
    static_cast<Half*>(call.out)[at] = narrow<Half>(value);
  } else {
    static_cast<float*>(call.out)[at] = value;
  }
}

// Where a thread's frames go: lane, lane + lanes, ... of a tile.
template <class S>
struct Targets {
  static constexpr int abreast = S::F::abreast;
  std::int64_t out[abreast];
  int live;  // how many of them there are

  template <class Places>
  CLINAUG_HOST_DEVICE Targets(Places places, int lane, int live_frames) : live(0) {
    CLINAUG_UNROLL
    for (int i = 0; i < abreast; ++i) {
      out[i] = 0;
      if (lane + i * S::lanes >= live_frames) continue;
      const Place place = places[lane + i * S::lanes];
      out[i] = place.out;
      live = i + 1;
    }
  }

  CLINAUG_HOST_DEVICE void write(const Call& call, int band, const Abreast<abreast>& sums) const {
    CLINAUG_UNROLL
    for (int i = 0; i < abreast; ++i) {
      if (i < live) finish(call, out[i], band, sums.of[i]);
    }
  }
};

// Phase: sums of the bands; written as log-mels, or into `sums` where bands are split.
template <class S, class Places, class Powers, class Sums>
CLINAUG_HOST_DEVICE void sum_bands(const Call& call, int live, Places places, Powers powers, Sums sums, int thread) {
  constexpr int abreast = S::F::abreast;
  const int lane = thread % S::lanes, group = thread / S::lanes;
  const int part = group % call.split, chunk = group / call.split;
  if (lane >= live || chunk >= call.n_chunks) return;
  int band = constant(call.chunks + chunk);
  const int end = constant(call.chunks + chunk + 1);
  if (band == end) return;
  const Targets<S> targets(places, lane, live);
  Abreast<abreast> rising{};
  int next = constant(call.segments + band + 1);
  for (int bin = constant(call.segments + band) + part; bin < next; bin += call.split) {
    const float w = constant(call.weights + bin).rising;
    const Abreast<abreast> p = powers[bin * S::lanes + lane];
    CLINAUG_UNROLL
    for (int i = 0; i < abreast; ++i) rising.of[i] += w * p.of[i];
  }
  for (; band < end; ++band) {
    const int begin = next;
    next = constant(call.segments + band + 2);
    Abreast<abreast> sum = rising;
    rising = {};
    for (int bin = begin + part; bin < next; bin += call.split) {
      const BinWeights w = constant(call.weights + bin);
      const Abreast<abreast> p = powers[bin * S::lanes + lane];
      CLINAUG_UNROLL
      for (int i = 0; i < abreast; ++i) {
        sum.of[i] += w.falling * p.of[i];
        rising.of[i] += w.rising * p.of[i];
      }
    }
    if (call.split == 1) {
      targets.write(call, band, sum);
    } else {
      sums[(part * call.n_mels + band) * S::lanes + lane] = sum;
    }
  }
}

// Phase, where bands are split: one thread a band and lane.
template <class S, class Places, class Sums>
CLINAUG_HOST_DEVICE void add_parts(const Call& call, int live, Places places, Sums sums, int thread) {
  constexpr int abreast = S::F::abreast;
  if (call.split == 1) return;
  for (int task = thread; task < call.n_mels * S::lanes; task += S::F::threads) {
    const int lane = task % S::lanes, band = task / S::lanes;
    if (lane >= live) continue;
    Abreast<abreast> sum{};
    for (int part = 0; part < call.split; ++part) {
      const Abreast<abreast> more = sums[(part * call.n_mels + band) * S::lanes + lane];
      CLINAUG_UNROLL
      for (int i = 0; i < abreast; ++i) sum.of[i] += more.of[i];
    }
    Targets<S>(places, lane, live).write(call, band, sum);
  }
}

}  // namespace clinaug::device
