// A complex FFT of any length in double precision: Stockham mixed radix, Bluestein's chirp where a prime is large.
// It is the plain path of log_mel: correct for every n_fft, on every machine.
#pragma once

#include <cstdint>
#include <memory>
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

class Fft {
 public:
  explicit Fft(std::int64_t n);

  // X[k] = sum_t x[t] exp(-2 pi i k t / n), in place; `scratch` holds scratch_size() elements.
  void run(Complex* x, Complex* scratch) const;

  std::int64_t scratch_size() const { return scratch_size_; }

 private:
  void run_mixed_radix(Complex* x, Complex* scratch) const;
  void run_bluestein(Complex* x, Complex* scratch) const;

  std::int64_t n_;
  std::int64_t scratch_size_;
  std::vector<std::int64_t> factors_;
  std::vector<Complex> roots_;  // exp(-2 pi i j / n), j < n

  // Bluestein: a convolution with a chirp, by an FFT of a power of two.
  std::unique_ptr<Fft> convolution_;
  std::vector<Complex> chirp_;           // exp(-pi i j^2 / n)
  std::vector<Complex> chirp_spectrum_;  // of the conjugate chirp, divided by the length
};

}  // namespace clinaug
