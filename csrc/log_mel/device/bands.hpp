// The last phases of a tile: mel bands, floor, logarithm, and the only writes to memory.
//
// A bin lies between two edges of the triangles: it belongs to the band that falls there and to the one that rises. So a
// walk along the bins reads each once, with both weights, and a band is done when its falling side is. The lanes of a warp
// walk alike, each in a frame of its own; groups of threads have a run of bands each ("chunk"), or, where there are more
// groups than bands, `split` of them share a band bin by bin and their sums are added in a phase of its own.
#pragma once

#include <cmath>

#include "log_mel/device/call.hpp"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace clinaug::device {

struct HalfBits {
  std::uint16_t bits;
};

CLINAUG_HOST_DEVICE float log2_of(float v) {
#if defined(__CUDA_ARCH__)
  return __log2f(v);  // 2 ulp, one instruction and a scale for subnormal numbers
#else
  return std::log2(v);
#endif
}

CLINAUG_HOST_DEVICE HalfBits to_half(float v) {
#if defined(__CUDA_ARCH__)
  return {__half_as_ushort(__float2half_rn(v))};
#else
  return {static_cast<std::uint16_t>(__builtin_bit_cast(std::uint16_t, static_cast<_Float16>(v)))};
#endif
}

// A NaN is not below the floor: it stays.
CLINAUG_HOST_DEVICE void finish(const Call& call, std::int64_t out, int band, float sum) {
  const float value = call.log2_scale * log2_of(sum < call.floor ? call.floor : sum);
  const std::int64_t at = out + band * call.n_frames;
  if (call.half_out) {
    static_cast<HalfBits*>(call.out)[at] = to_half(value);
  } else {
    static_cast<float*>(call.out)[at] = value;
  }
}

// Phase: sums of the bands; written as log-mels, or into `sums` where bands are split.
template <class S, class Places, class Floats>
CLINAUG_HOST_DEVICE void sum_bands(const Call& call, int live, Places places, Floats powers, Floats sums, int thread) {
  constexpr int frames = S::F::frames;
  const int j = thread % frames, group = thread / frames;
  const int part = group % call.split, chunk = group / call.split;
  if (j >= live || chunk >= call.n_chunks) return;
  const Place place = places[j];
  const auto row = powers + j * S::power_stride;
  int band = constant(call.chunks + chunk);
  const int end = constant(call.chunks + chunk + 1);
  if (band == end) return;
  float rising = 0.0f;
  int next = constant(call.segments + band + 1);
  for (int bin = constant(call.segments + band) + part; bin < next; bin += call.split) {
    rising += constant(call.weights + bin).rising * row[bin];
  }
  for (; band < end; ++band) {
    const int begin = next;
    next = constant(call.segments + band + 2);
    float falling = 0.0f, rising_next = 0.0f;
    for (int bin = begin + part; bin < next; bin += call.split) {
      const BinWeights w = constant(call.weights + bin);
      const float p = row[bin];
      falling += w.falling * p;
      rising_next += w.rising * p;
    }
    if (call.split == 1) {
      finish(call, place.out, band, rising + falling);
    } else {
      sums[(band * call.split + part) * frames + j] = rising + falling;
    }
    rising = rising_next;
  }
}

// Phase, where bands are split: one thread a band and frame.
template <class S, class Places, class Floats>
CLINAUG_HOST_DEVICE void add_parts(const Call& call, int live, Places places, Floats sums, int thread) {
  constexpr int frames = S::F::frames;
  if (call.split == 1) return;
  for (int task = thread; task < call.n_mels * frames; task += S::F::threads) {
    const int j = task % frames, band = task / frames;
    if (j >= live) continue;
    float sum = 0.0f;
    for (int part = 0; part < call.split; ++part) sum += sums[(band * call.split + part) * frames + j];
    const Place place = places[j];
    finish(call, place.out, band, sum);
  }
}

}  // namespace clinaug::device
