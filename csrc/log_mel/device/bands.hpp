// The last phases of a tile: mel bands, floor, logarithm, and the only writes to memory.
//
// A bin lies between two edges of the triangles: it belongs to the band that falls there and to the one that rises. So a
// walk along the bins reads each once, for both, and a band is done when its falling side is. The weights are straight lines
// and cost two additions, where a table would cost a load. Neighbouring threads walk alike in frames of their own, some frames
// abreast; a group of threads has a run of bands ("chunk"), or, where there are more groups than bands, `split` of them share
// a band bin by bin and their sums are added in a phase of its own.
#pragma once

#include <cmath>
#include <type_traits>

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
template <class Out>
CLINAUG_HOST_DEVICE Out log_of(const Call& call, float sum) {
  return narrow<Out>(sum < call.floor ? call.log_floor : call.log2_scale * log2_of(sum));
}

// Where a thread's frames go: lane, lane + lanes, ... of a tile, from one band to the next.
template <class S, class Out>
struct Targets {
  static constexpr int abreast = S::F::abreast;
  Out* out[abreast];
  int live;  // how many of them there are

  template <class Places>
  CLINAUG_HOST_DEVICE Targets(const Call& call, Places places, int lane, int live_frames, int band) : live(0) {
    CLINAUG_UNROLL
    for (int i = 0; i < abreast; ++i) {
      out[i] = static_cast<Out*>(call.out);
      if (lane + i * S::lanes >= live_frames) continue;
      const Place place = places[lane + i * S::lanes];
      out[i] += place.out + band * call.n_frames;
      live = i + 1;
    }
  }

  CLINAUG_HOST_DEVICE void write(const Call& call, const Abreast<abreast>& sums) {
    CLINAUG_UNROLL
    for (int i = 0; i < abreast; ++i) {
      if (i >= live) continue;
      *out[i] = log_of<Out>(call, sums.of[i]);
      out[i] += call.n_frames;
    }
  }
};

// The bins of a segment, weighed for both of its bands but for the scales.
template <int abreast>
struct Sides {
  Abreast<abreast> falling, rising;
};

// `part` of the threads that share it. Some bins are asked for before the first is waited for.
template <class S, class Split, class Powers>
CLINAUG_HOST_DEVICE Sides<S::F::abreast> walk(const Segment& segment, Split split, int part, int lane, Powers powers) {
  constexpr int abreast = S::F::abreast, at_once = S::n_fft <= 512 ? 2 : 4;  // segments have few bins where the frame is short
  Sides<abreast> sides{};
  float place = static_cast<float>(part);  // in the segment: a float counts bins without rounding
  for (int bin = segment.begin + part; bin < segment.end; bin += at_once * split) {
    Abreast<abreast> power[at_once]{};
    CLINAUG_UNROLL
    for (int q = 0; q < at_once; ++q) {
      if (bin + q * split < segment.end) power[q] = powers[bin * S::lanes + lane + q * split * S::lanes];
    }
    const float rise = segment.rise + place, left = segment.last - place;
    CLINAUG_UNROLL
    for (int q = 0; q < at_once; ++q) {
      const float step = static_cast<float>(q * split), rising = rise + step, falling = segment.fall + (left - step);
      CLINAUG_UNROLL
      for (int i = 0; i < abreast; ++i) {
        sides.rising.of[i] += rising * power[q].of[i];
        sides.falling.of[i] += falling * power[q].of[i];
      }
    }
    place += static_cast<float>(at_once * split);
  }
  return sides;
}

// The bands of a chunk: written as log-mels, or into `sums` where they are split.
template <class S, class Out, class Split, class Places, class Powers, class Sums>
CLINAUG_HOST_DEVICE void sum_chunk(const Call& call, int live, Places places, Powers powers, Sums sums, Split split, int thread) {
  constexpr int abreast = S::F::abreast;
  const int lane = thread % S::lanes, group = thread / S::lanes;
  const int part = group % split, chunk = group / split;
  if (lane >= live || chunk >= call.n_chunks) return;
  const int first = constant(call.chunks + chunk), end = constant(call.chunks + chunk + 1);
  if (first == end) return;
  Targets<S, Out> targets(call, places, lane, live, first);
  Abreast<abreast> rising{};
  Segment next = constant(call.segments + first);
  for (int i = first; i <= end; ++i) {  // segment i ends band i - 1 and begins band i
    const Segment segment = next;
    if (i < end) next = constant(call.segments + i + 1);
    const Sides<abreast> sides = walk<S>(segment, split, part, lane, powers);
    Abreast<abreast> sum;
    CLINAUG_UNROLL
    for (int f = 0; f < abreast; ++f) {
      sum.of[f] = rising.of[f] + segment.fall_scale * sides.falling.of[f];
      rising.of[f] = segment.rise_scale * sides.rising.of[f];
    }
    if (i == first) continue;
    if (split == 1) {
      targets.write(call, sum);
    } else {
      sums[(part * call.n_mels + i - 1) * S::lanes + lane] = sum;
    }
  }
}

// Calls f with a number of the kind that the log-mel is of.
template <class F>
CLINAUG_HOST_DEVICE void with_out(const Call& call, const F& f) {
  call.half_out ? f(Half{}) : f(float{});
}

// Phase: sums of the bands.
template <class S, class Places, class Powers, class Sums>
CLINAUG_HOST_DEVICE void sum_bands(const Call& call, int live, Places places, Powers powers, Sums sums, int thread) {
  with_out(call, [&](auto out) {
    if (call.split == 1) {
      sum_chunk<S, decltype(out)>(call, live, places, powers, sums, std::integral_constant<int, 1>{}, thread);
    } else {
      sum_chunk<S, decltype(out)>(call, live, places, powers, sums, call.split, thread);
    }
  });
}

// Phase, where bands are split: one thread a band and lane.
template <class S, class Places, class Sums>
CLINAUG_HOST_DEVICE void add_parts(const Call& call, int live, Places places, Sums sums, int thread) {
  constexpr int abreast = S::F::abreast;
  with_out(call, [&](auto out) {
    for (int task = thread; task < call.n_mels * S::lanes; task += S::F::threads) {
      const int lane = task % S::lanes, band = task / S::lanes;
      if (lane >= live) continue;
      Abreast<abreast> sum{};
      for (int part = 0; part < call.split; ++part) {
        const Abreast<abreast> more = sums[(part * call.n_mels + band) * S::lanes + lane];
        CLINAUG_UNROLL
        for (int i = 0; i < abreast; ++i) sum.of[i] += more.of[i];
      }
      Targets<S, decltype(out)>(call, places, lane, live, band).write(call, sum);
    }
  });
}

}  // namespace clinaug::device
