// The complex transforms of the columns, in one step or two, and |X|^2 of every bin.
#pragma once

#include <cmath>

#include "log_mel/device/butterflies.hpp"
#include "log_mel/device/call.hpp"

namespace clinaug::device {

// Phase, where a column is too long for one butterfly: for each m2, over n2 = m2 + last * m1, in place, times
// W_inner^(m2 ka). A thread reads and writes the same cells.
template <class S, class Cells>
CLINAUG_HOST_DEVICE void transform_middle(const Call& call, Cells cells, int thread) {
  constexpr int middle = S::F::middle, last = S::F::last;
  for (int task = thread; task < S::F::frames * S::columns * last; task += S::F::threads) {
    const int m2 = task % last, k1 = task / last % S::columns, j = task / last / S::columns;
    float re[1][middle], im[1][middle];
    CLINAUG_UNROLL
    for (int m1 = 0; m1 < middle; ++m1) {
      const Complex32 z = cells[S::cell(j, k1, m1, m2)];
      re[0][m1] = z.re;
      im[0][m1] = z.im;
    }
    ComplexDft<middle>::run(re[0], im[0]);
    twiddle<MiddlePowers<S>>(call.middle_twiddles + m2, last, re, im);
    CLINAUG_UNROLL
    for (int ka = 0; ka < middle; ++ka) cells[S::cell(j, k1, ka, m2)] = Complex32{re[0][ka], im[0][ka]};
  }
}

CLINAUG_HOST_DEVICE float root_of(float v) {
#if defined(__CUDA_ARCH__)
  float root;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(root) : "f"(v));  // 2^-23 of the root; what C++ asks for is a call beside it
  return root;
#else
  return std::sqrt(v);
#endif
}

template <int n>
CLINAUG_HOST_DEVICE void to_magnitude(const Call& call, float (&power)[n]) {
  if (!call.magnitude) return;
  CLINAUG_UNROLL
  for (int i = 0; i < n; ++i) power[i] = root_of(power[i]);
}

// The packed column of frame j: every rows / 2-th bin.
template <class S, class Floats>
CLINAUG_HOST_DEVICE void store_packed(const Call& call, const float (&re)[S::F::last], const float (&im)[S::F::last], Floats powers,
                                      int j) {
  float power[S::F::last + 1];
  RealPowers<S::F::last>::run(re, im, power);
  to_magnitude(call, power);
  CLINAUG_UNROLL
  for (int k = 0; k <= S::F::last; ++k) powers[S::power_cell(k * (S::F::rows / 2), j)] = power[k];
}

// Part ka of column k1 of frame j: the bins k1 + rows * (ka + middle * kb). One above n_fft / 2 is the conjugate of n_fft
// minus it.
template <class S, class Floats>
CLINAUG_HOST_DEVICE void store_column(const Call& call, const float (&re)[S::F::last], const float (&im)[S::F::last], Floats powers,
                                      int j, int k1, int ka) {
  constexpr int rows = S::F::rows, last = S::F::last, step = rows * S::F::middle;
  float power[last];
  CLINAUG_UNROLL
  for (int kb = 0; kb < last; ++kb) power[kb] = re[kb] * re[kb] + im[kb] * im[kb];
  to_magnitude(call, power);
  const int lowest = k1 + rows * ka;
  CLINAUG_UNROLL
  for (int kb = 0; kb < last / 2; ++kb) powers[S::power_cell(lowest + step * kb, j)] = power[kb];
  const bool own_conjugate = !S::packed && (k1 == 0 || 2 * k1 == rows);
  if (lowest == 0 && !S::packed) powers[S::power_cell(S::n_fft / 2, j)] = power[last / 2];
  if (own_conjugate) return;
  CLINAUG_UNROLL
  for (int kb = last / 2; kb < last; ++kb) powers[S::power_cell(S::n_fft - lowest - step * kb, j)] = power[kb];
}

// Phase: the last butterfly of every column, and the power of its bins.
template <class S, class Cells, class Floats>
CLINAUG_HOST_DEVICE void transform_columns(const Call& call, Cells cells, Floats powers, int thread) {
  constexpr int middle = S::F::middle, last = S::F::last, frames = S::F::frames;
  for (int task = thread; task < frames * S::columns * middle; task += S::F::threads) {
    const int j = task % frames, column = task / frames;
    const int k1 = middle == 1 ? column : column % S::columns, ka = middle == 1 ? 0 : column / S::columns;
    float re[last], im[last];
    CLINAUG_UNROLL
    for (int m2 = 0; m2 < last; ++m2) {
      const Complex32 z = cells[S::cell(j, k1, ka, m2)];
      re[m2] = z.re;
      im[m2] = z.im;
    }
    ComplexDft<last>::run(re, im);
    if (S::packed && k1 == 0) {
      store_packed<S>(call, re, im, powers, j);
    } else {
      store_column<S>(call, re, im, powers, j, k1, ka);
    }
  }
}

}  // namespace clinaug::device
