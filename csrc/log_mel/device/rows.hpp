// The first phase of a tile: the real transforms of its frames' rows, straight from the waveform.
#pragma once

#include "log_mel/device/butterflies.hpp"
#include "log_mel/device/call.hpp"

namespace clinaug::device {

// Where a frame lies. Positions in it are relative to its first sample.
template <class Sample>
struct Place {
  const Sample* first;      // before the waveform where the frame begins in the padding
  std::int32_t waveform, frame;
  bool interior;            // no padding in this frame

  // `frame` of all waveforms in a row.
  CLINAUG_HOST_DEVICE Place(const Call& call, std::int32_t of_all) : waveform(call.by_waveform.quotient(of_all)) {
    frame = of_all - waveform * call.n_frames;
    interior = frame >= call.interior && frame < call.interior_end;
    first = static_cast<const Sample*>(call.x) + (waveform * call.row_stride + start(call));
  }

  CLINAUG_HOST_DEVICE std::int64_t start(const Call& call) const {
    return static_cast<std::int64_t>(frame) * call.hop_length - call.padding;
  }
};

CLINAUG_HOST_DEVICE std::int32_t clamped(std::int64_t v) {
  constexpr std::int64_t far = 1 << 29;  // beyond any frame
  return static_cast<std::int32_t>(v < -far ? -far : v > far ? far : v);
}

// Position n of a frame, moved into the waveform [begin, end): mirrored, as often as it takes, or brought to its edge.
CLINAUG_HOST_DEVICE std::int32_t moved_inside(std::int32_t n, std::int32_t begin, std::int32_t end, bool mirrored) {
  if (mirrored) {
    while (n < begin || n >= end) n = (n < begin ? 2 * begin : 2 * (end - 1)) - n;
    return n;
  }
  return n < begin ? begin : n < end ? n : end - 1;
}

// Row n2 of a frame: its samples n2, n2 + inner, n2 + 2 inner, ...
template <class S, class Sample>
CLINAUG_HOST_DEVICE void load_row(const Call& call, const Place<Sample>& place, int n2, Sample (&row)[S::F::rows]) {
  if (place.interior) {
    const Sample* x = place.first + n2;
    CLINAUG_UNROLL
    for (int n1 = 0; n1 < S::F::rows; ++n1) row[n1] = constant(x + S::inner * n1);
    return;
  }
  const std::int32_t begin = clamped(-place.start(call)), end = clamped(call.n_samples - place.start(call));  // the waveform
  const bool mirrored = call.pad_mode == PadMode::reflect, zeros = call.pad_mode == PadMode::constant;
  CLINAUG_UNROLL
  for (int n1 = 0; n1 < S::F::rows; ++n1) {
    const std::int32_t n = n2 + S::inner * n1, from = moved_inside(n, begin, end, mirrored);
    row[n1] = zeros && from != n ? Sample{0} : constant(place.first + from);
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

// Row n2 of the frames j, j + row_step, ... to the cells (k1, n2) of their columns; zeros for a frame that is not there.
template <class S, class Sample, class Cells, class Reals>
CLINAUG_HOST_DEVICE void transform_row(const Call& call, std::int32_t tile, int live, Cells cells, Reals reals, int n2, int j) {
  constexpr int rows = S::F::rows, together = S::F::together, step = S::row_step;
  Sample samples[together][rows];
  CLINAUG_UNROLL
  for (int i = 0; i < together; ++i) {
    if (j + i * step < live) {
      const Place<Sample> place(call, tile * S::F::frames + j + i * step);
      load_row<S>(call, place, n2, samples[i]);
    } else {
      CLINAUG_UNROLL
      for (int n1 = 0; n1 < rows; ++n1) samples[i][n1] = Sample{0};
    }
  }
  float x[together][rows], re[together][rows / 2 + 1], im[together][rows / 2 + 1];
  CLINAUG_UNROLL
  for (int i = 0; i < together; ++i) {
    CLINAUG_UNROLL
    for (int n1 = 0; n1 < rows; ++n1) x[i][n1] = static_cast<float>(samples[i][n1]);
  }
  apply_window<S>(call, n2, x);
  CLINAUG_UNROLL
  for (int i = 0; i < together; ++i) RealDft<rows>::run(x[i], re[i], im[i]);
  twiddle<RowPowers<S>>(call.row_twiddles + n2, S::inner, re, im);
  const int part = n2 / S::F::last, m2 = n2 % S::F::last;
  CLINAUG_UNROLL
  for (int i = 0; i < together; ++i) {
    const int frame = j + i * step;
    if constexpr (S::packed) {  // the sums over even and over odd n1 are the numbers n2 and n2 + inner of the packed column
      const auto column = reals + 2 * S::cell(frame, 0, 0, 0);
      column[n2] = 0.5f * (re[i][0] + re[i][rows / 2]);
      column[n2 + S::inner] = 0.5f * (re[i][0] - re[i][rows / 2]);
    }
    CLINAUG_UNROLL
    for (int k1 = S::packed ? 1 : 0; k1 < S::columns; ++k1) cells[S::cell(frame, k1, part, m2)] = Complex32{re[i][k1], im[i][k1]};
  }
}

// Phase: every row of every frame.
template <class S, class Sample, class Cells, class Reals>
CLINAUG_HOST_DEVICE void transform_rows(const Call& call, std::int32_t tile, int live, Cells cells, Reals reals, int thread) {
  if (thread >= S::row_step * S::row_threads) return;
  CLINAUG_UNROLL
  for (int first = 0; first < S::inner; first += S::row_threads) {
    const int n2 = first + thread % S::row_threads;
    if (S::inner % S::row_threads != 0 && n2 >= S::inner) continue;
    CLINAUG_UNROLL
    for (int j = 0; j < S::F::frames; j += S::F::together * S::row_step) {
      transform_row<S, Sample>(call, tile, live, cells, reals, n2, j + thread / S::row_threads);
    }
  }
}

}  // namespace clinaug::device
