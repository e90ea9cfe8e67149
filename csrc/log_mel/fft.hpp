// A complex FFT in double precision, for what is transformed once when a plan is made: the chirp of lanes/chirp_plan.
#pragma once

#include <vector>

namespace clinaug {

// Not std::complex: its product must test for NaN and infinity, which costs a branch an element.
struct Complex {
  double re = 0.0;
  double im = 0.0;

  friend Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  friend Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  friend Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
};

// X[k] = sum_t x[t] exp(-2 pi i k t / n), in place; n has no other prime factors than 2, 3 and 5.
void fft(std::vector<Complex>& x);

}  // namespace clinaug
