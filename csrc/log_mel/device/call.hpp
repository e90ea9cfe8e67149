// What a launch of log_mel hands to every thread: addresses on the device, extents and the numbers of the contract.
#pragma once

#include <cstdint>

#include "common/divider.hpp"
#include "common/host_device.hpp"
#include "log_mel/device/size.hpp"
#include "log_mel/params.hpp"

namespace clinaug::device {

struct Call {
  const void* x = nullptr;  // (batch, n_samples) float or int16
  void* out = nullptr;      // (batch, n_mels, n_frames) float or half, dense
  std::int64_t row_stride = 0, n_samples = 0;
  // Frames of all waveforms in a row: tiles do not end with a waveform. Below 2^30 of them, see plan.cpp.
  std::int32_t n_frames = 0, total_frames = 0, n_tiles = 0;
  Divider by_waveform;           // n_frames
  std::int64_t other_bands = 0;  // n_frames * (n_mels - 1): the bands of a waveform but one
  std::int32_t interior = 0, interior_end = 0;  // the frames of a waveform that lie wholly in it
  std::int32_t hop_length = 0, padding = 0;

  // tables, see plan.cpp
  const float* window = nullptr;               // (n_fft,), with the scale of int16
  const Complex32* row_twiddles = nullptr;     // (slots, inner)
  const Complex32* middle_twiddles = nullptr;  // (slots, last)
  const Band* bands = nullptr;                 // (rounds, teams)
  const Abreast<4>* weights = nullptr;

  std::int32_t rounds = 0, split = 1;  // bands of a team, and its threads of a frame
  std::int32_t window_start = 0, win_length = 0;
  PadMode pad_mode = PadMode::reflect;  // never reflect for a single sample
  bool magnitude = false, half_out = false;
  float floor = 0.0f, log_floor = 0.0f, log2_scale = 1.0f;
  float lift = 1.0f, log_lift = 0.0f;  // makes normal numbers of what a floor below them lets through; and what its log takes back
};

// A value that no thread writes while the kernel runs.
template <class T>
CLINAUG_HOST_DEVICE T constant(const T* p) {
#if defined(__CUDA_ARCH__)
  return __ldg(p);
#else
  return *p;
#endif
}

CLINAUG_HOST_DEVICE Complex32 constant(const Complex32* p) {
#if defined(__CUDA_ARCH__)
  const float2 v = __ldg(reinterpret_cast<const float2*>(p));
  return {v.x, v.y};
#else
  return *p;
#endif
}

CLINAUG_HOST_DEVICE Band constant(const Band* p) {
#if defined(__CUDA_ARCH__)
  const int4 v = __ldg(reinterpret_cast<const int4*>(p));
  return {v.x, v.y, v.z, v.w};
#else
  return *p;
#endif
}

CLINAUG_HOST_DEVICE Abreast<4> constant(const Abreast<4>* p) {
#if defined(__CUDA_ARCH__)
  const float4 v = __ldg(reinterpret_cast<const float4*>(p));
  return {v.x, v.y, v.z, v.w};
#else
  return *p;
#endif
}

CLINAUG_HOST_DEVICE Complex32 times(Complex32 a, Complex32 b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

// values[e] *= w^e for e = 1 .. Table::count; w^e stands at table[slot(e) * stride].
template <class Table, int arrays, int n>
CLINAUG_HOST_DEVICE void twiddle(const Complex32* table, int stride, float (&re)[arrays][n], float (&im)[arrays][n]) {
  Complex32 low[Table::base], high{1.0f, 0.0f};
  CLINAUG_UNROLL
  for (int e = 1; e <= Table::count; ++e) {
    const int rest = e % Table::base;
    Complex32 w;
    if (Table::tabulated(e)) {
      w = constant(table + Table::slot(e) * stride);
      if (rest == 0) {
        high = w;
      } else {
        low[rest] = w;
      }
    } else {
      w = times(high, low[rest]);
    }
    CLINAUG_UNROLL
    for (int i = 0; i < arrays; ++i) {
      const Complex32 turned = times(w, {re[i][e], im[i][e]});
      re[i][e] = turned.re;
      im[i][e] = turned.im;
    }
  }
}

// How many frames a tile has: all but the last are full.
template <class S>
CLINAUG_HOST_DEVICE int live_frames(const Call& call, std::int32_t tile) {
  const std::int32_t left = call.total_frames - tile * S::F::frames;
  return left < S::F::frames ? left : S::F::frames;
}

}  // namespace clinaug::device
