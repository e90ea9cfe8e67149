// The complex transforms of the columns, in one step or two, and |X|^2 of every bin.
#pragma once

#include <cmath>

#include "log_mel/device/butterflies.hpp"
#include "log_mel/device/call.hpp"

namespace clinaug::device {

// Phase, where a column is too long for one butterfly: for each m2, over n2 = m2 + last * m1, in place, times
// W_inner^(m2 ka). A thread reads and writes the same cells.
template <class S, class Cells>
CLINAUG_HOST_DEVICE void transform_middle(const Call& call, int live, Cells cells, int thread) {
  constexpr int middle = S::F::middle, last = S::F::last;
  for (int task = thread; task < live * S::columns * last; task += S::F::threads) {
    const int m2 = task % last, k1 = task / last % S::columns, j = task / last / S::columns;
    float re[1][middle], im[1][middle];
    CLINAUG_UNROLL
    for (int m1 = 0; m1 < middle; ++m1) {
      const Complex32 z = cells[S::cell(j, k1, m2 + last * m1)];
      re[0][m1] = z.re;
      im[0][m1] = z.im;
    }
    ComplexDft<middle>::run(re[0], im[0]);
    twiddle<MiddlePowers<S>>(call.middle_twiddles + m2, last, re, im);
    CLINAUG_UNROLL
    for (int ka = 0; ka < middle; ++ka) cells[S::cell(j, k1, m2 + last * ka)] = Complex32{re[0][ka], im[0][ka]};
  }
}

// Phase: column k1 of a frame, its part ka, to the power of the bins k1 + rows * (ka + middle * kb). A bin above n_fft / 2
// is the conjugate of n_fft minus it.
template <class S, class Cells, class Floats>
CLINAUG_HOST_DEVICE void transform_columns(const Call& call, int live, Cells cells, Floats powers, int thread) {
  constexpr int rows = S::F::rows, middle = S::F::middle, last = S::F::last, frames = S::F::frames;
  for (int task = thread; task < frames * S::columns * middle; task += S::F::threads) {
    const int j = task % frames, k1 = task / frames % S::columns, ka = task / frames / S::columns;
    float re[last], im[last];
    CLINAUG_UNROLL
    for (int m2 = 0; m2 < last; ++m2) {
      Complex32 z{0.0f, 0.0f};  // of a frame that is not there: its powers are read beside those of another
      if (j < live) z = cells[S::cell(j, k1, ka * last + m2)];
      re[m2] = z.re;
      im[m2] = z.im;
    }
    ComplexDft<last>::run(re, im);
    CLINAUG_UNROLL
    for (int kb = 0; kb < last; ++kb) re[kb] = re[kb] * re[kb] + im[kb] * im[kb];
    if (call.magnitude) {
      CLINAUG_UNROLL
      for (int kb = 0; kb < last; ++kb) re[kb] = sqrtf(re[kb]);
    }
    const int lowest = k1 + rows * ka;
    const bool own_conjugate = k1 == 0 || 2 * k1 == rows;
    CLINAUG_UNROLL
    for (int kb = 0; kb < last / 2; ++kb) powers[S::power_cell(lowest + rows * middle * kb, j)] = re[kb];
    CLINAUG_UNROLL
    for (int kb = last / 2; kb < last; ++kb) {
      const int bin = S::n_fft - lowest - rows * middle * kb;
      if (!own_conjugate || (kb == last / 2 && lowest == 0)) powers[S::power_cell(bin, j)] = re[kb];
    }
  }
}

}  // namespace clinaug::device
