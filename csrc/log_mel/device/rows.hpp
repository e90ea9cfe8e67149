// The first phases of a tile: where its frames lie, and the real transforms of their rows, straight from the waveform.
#pragma once

#include "log_mel/device/butterflies.hpp"
#include "log_mel/device/call.hpp"

namespace clinaug::device {

CLINAUG_HOST_DEVICE std::int32_t clamped(std::int64_t v) {
  constexpr std::int64_t far = 1 << 29;  // beyond any frame
  return static_cast<std::int32_t>(v < -far ? -far : v > far ? far : v);
}

// Phase: one thread a frame. A division of 64-bit numbers costs more than the rest of it, so it is avoided where it can be.
template <class S, class Places>
CLINAUG_HOST_DEVICE void place_frames(const Call& call, std::int64_t tile, Places places, int thread) {
  if (thread >= live_frames<S>(call, tile)) return;
  const std::int64_t frame = tile * S::F::frames + thread;
  const bool small = call.total_frames <= 0x7fffffff;
  const std::int64_t b =
      small ? static_cast<std::uint32_t>(frame) / static_cast<std::uint32_t>(call.n_frames) : frame / call.n_frames;
  const std::int64_t f = frame - b * call.n_frames;
  const std::int64_t start = f * call.hop_length - call.padding;
  Place place{};
  place.first = b * call.row_stride + start;
  place.out = b * call.n_mels * call.n_frames + f;
  place.begin = clamped(-start);
  place.end = clamped(call.n_samples - start);
  place.interior = place.begin <= 0 && place.end >= S::n_fft;
  places[thread] = place;
}

// Moves position n of a frame into the waveform [begin, end); false where a zero stands there.
CLINAUG_HOST_DEVICE bool find_sample(std::int32_t& n, std::int32_t begin, std::int32_t end, PadMode mode) {
  if (n >= begin && n < end) return true;
  if (mode == PadMode::constant) return false;
  if (mode == PadMode::edge) {
    n = n < begin ? begin : end - 1;
    return true;
  }
  while (n < begin || n >= end) n = n < begin ? 2 * begin - n : 2 * (end - 1) - n;
  return true;
}

// Row n2 of a frame: its samples n2, n2 + inner, n2 + 2 inner, ...
template <class S, class Sample>
CLINAUG_HOST_DEVICE void load_row(const Call& call, const Place& place, int n2, float (&row)[S::F::rows]) {
  const Sample* x = static_cast<const Sample*>(call.x);
  if (place.interior) {
    x += place.first + n2;
    CLINAUG_UNROLL
    for (int n1 = 0; n1 < S::F::rows; ++n1) row[n1] = static_cast<float>(constant(x + S::inner * n1));
  } else {
    CLINAUG_UNROLL
    for (int n1 = 0; n1 < S::F::rows; ++n1) {
      std::int32_t n = n2 + S::inner * n1;
      const bool found = find_sample(n, place.begin, place.end, call.pad_mode);
      row[n1] = found ? static_cast<float>(constant(x + (place.first + n))) : 0.0f;
    }
  }
}

// What lies outside a short window may be NaN: it must not reach the frame, not even times zero.
template <class S>
CLINAUG_HOST_DEVICE void apply_window(const Call& call, int n2, float (&x)[S::F::together][S::F::rows]) {
  const float* window = call.window + n2;
  CLINAUG_UNROLL
  for (int n1 = 0; n1 < S::F::rows; ++n1) {
    const float w = constant(window + S::inner * n1);
    CLINAUG_UNROLL
    for (int i = 0; i < S::F::together; ++i) x[i][n1] *= w;
  }
  if (call.win_length == S::n_fft) return;
  CLINAUG_UNROLL
  for (int n1 = 0; n1 < S::F::rows; ++n1) {
    const auto in_window = static_cast<std::uint32_t>(n2 + S::inner * n1 - call.window_start);
    CLINAUG_UNROLL
    for (int i = 0; i < S::F::together; ++i) x[i][n1] = in_window < static_cast<std::uint32_t>(call.win_length) ? x[i][n1] : 0.0f;
  }
}

// Row n2 of the frames j, j + row_step, ... to the cells (k1, n2) of their columns.
template <class S, class Sample, class Places, class Cells>
CLINAUG_HOST_DEVICE void transform_row(const Call& call, int live, Places places, Cells cells, int n2, int j) {
  constexpr int together = S::F::together, step = S::row_step;
  float x[together][S::F::rows], re[together][S::columns], im[together][S::columns];
  CLINAUG_UNROLL
  for (int i = 0; i < together; ++i) {
    if (j + i * step < live) {
      const Place place = places[j + i * step];
      load_row<S, Sample>(call, place, n2, x[i]);
    } else {
      CLINAUG_UNROLL
      for (int n1 = 0; n1 < S::F::rows; ++n1) x[i][n1] = 0.0f;
    }
  }
  apply_window<S>(call, n2, x);
  CLINAUG_UNROLL
  for (int i = 0; i < together; ++i) RealDft<S::F::rows>::run(x[i], re[i], im[i]);
  twiddle<RowPowers<S>>(call.row_twiddles + n2, S::inner, re, im);
  CLINAUG_UNROLL
  for (int i = 0; i < together; ++i) {
    if (j + i * step >= live) continue;
    CLINAUG_UNROLL
    for (int k1 = 0; k1 < S::columns; ++k1) cells[S::cell(j + i * step, k1, n2)] = Complex32{re[i][k1], im[i][k1]};
  }
}

// Phase: every row of every frame. One of the loops has a single round: a frame has fewer rows than there are threads, or
// the block has one frame.
template <class S, class Sample, class Places, class Cells>
CLINAUG_HOST_DEVICE void transform_rows(const Call& call, int live, Places places, Cells cells, int thread) {
  if (thread >= S::row_step * S::row_threads) return;
  for (int n2 = thread % S::row_threads; n2 < S::inner; n2 += S::row_threads) {
    for (int j = thread / S::row_threads; j < live; j += S::F::together * S::row_step) {
      transform_row<S, Sample>(call, live, places, cells, n2, j);
    }
  }
}

}  // namespace clinaug::device
