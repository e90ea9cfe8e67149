// The complex transforms of the columns, in one step or two, and |X|^2 of every bin. Where a thread has one column at most, all
// hold theirs in registers when the powers come, which then take the place of the cells.
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

// The powers of the bins of one column, or of part ka of it: what a thread carries from its cells to the place of the powers.
template <class S>
class Column {
 public:
  // Task: (part ka, column k1, frame j), j the fastest.
  template <class Cells>
  CLINAUG_HOST_DEVICE void transform(const Call& call, Cells cells, int task) {
    const Place place(task);
    float re[last], im[last];
    CLINAUG_UNROLL
    for (int m2 = 0; m2 < last; ++m2) {
      const Complex32 z = cells[S::cell(place.j, place.k1, place.ka, m2)];
      re[m2] = z.re;
      im[m2] = z.im;
    }
    ComplexDft<last>::run(re, im);
    if (S::packed && place.k1 == 0) {
      RealPowers<last>::run(re, im, power_);
    } else {
      CLINAUG_UNROLL
      for (int kb = 0; kb < last; ++kb) power_[kb] = re[kb] * re[kb] + im[kb] * im[kb];
      power_[last] = 0.0f;
    }
    if (!call.magnitude) return;
    CLINAUG_UNROLL
    for (int i = 0; i <= last; ++i) power_[i] = root_of(power_[i]);
  }

  template <class Floats>
  CLINAUG_HOST_DEVICE void store(Floats powers, int task) const {
    const Place place(task);
    if (S::packed && place.k1 == 0) {  // every rows / 2-th bin
      CLINAUG_UNROLL
      for (int k = 0; k <= last; ++k) powers[S::power_cell(k * (rows / 2), place.j)] = power_[k];
      return;
    }
    // The bins k1 + rows * (ka + middle * kb). One above n_fft / 2 is the conjugate of n_fft minus it.
    constexpr int step = rows * S::F::middle;
    const int lowest = place.k1 + rows * place.ka;
    CLINAUG_UNROLL
    for (int kb = 0; kb < last / 2; ++kb) powers[S::power_cell(lowest + step * kb, place.j)] = power_[kb];
    const bool own_conjugate = !S::packed && (place.k1 == 0 || 2 * place.k1 == rows);
    if (lowest == 0 && !S::packed) powers[S::power_cell(S::n_fft / 2, place.j)] = power_[last / 2];
    if (own_conjugate) return;
    CLINAUG_UNROLL
    for (int kb = last / 2; kb < last; ++kb) powers[S::power_cell(S::n_fft - lowest - step * kb, place.j)] = power_[kb];
  }

 private:
  static constexpr int rows = S::F::rows, last = S::F::last;

  struct Place {
    int j, k1, ka;

    CLINAUG_HOST_DEVICE explicit Place(int task) : j(task % S::F::frames) {
      const int column = task / S::F::frames;
      k1 = S::F::middle == 1 ? column : column % S::columns;
      ka = S::F::middle == 1 ? 0 : column / S::columns;
    }
  };

  float power_[last + 1];
};

// Phase, where a thread has more columns than one: each, and the power of its bins.
template <class S, class Cells, class Floats>
CLINAUG_HOST_DEVICE void transform_columns(const Call& call, Cells cells, Floats powers, int thread) {
  for (int task = thread; task < S::column_tasks; task += S::F::threads) {
    Column<S> column;
    column.transform(call, cells, task);
    column.store(powers, task);
  }
}

}  // namespace clinaug::device
