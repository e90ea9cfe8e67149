#include "log_mel/fft.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <utility>

namespace clinaug {
namespace {

// A direct butterfly of radix r costs r^2; past this Bluestein's three power-of-two FFTs are cheaper.
constexpr std::int64_t kLargestRadix = 31;

Complex unit_root(std::int64_t numerator, std::int64_t denominator) {
  const double angle = -2.0 * std::numbers::pi * static_cast<double>(numerator) / static_cast<double>(denominator);
  return {std::cos(angle), std::sin(angle)};
}

std::vector<std::int64_t> factorize(std::int64_t n) {
  std::vector<std::int64_t> factors;
  for (; n % 4 == 0; n /= 4) factors.push_back(4);
  for (std::int64_t prime = 2; n > 1; ++prime) {
    if (prime * prime > n) prime = n;
    for (; n % prime == 0; n /= prime) factors.push_back(prime);
  }
  return factors;
}

// b[j] = sum_k a[k] w^(jk), w = exp(-2 pi i / r); roots[j * step] = w^j.
void butterfly(std::int64_t r, const Complex* a, Complex* b, const Complex* roots, std::int64_t step) {
  if (r == 2) {
    b[0] = a[0] + a[1];
    b[1] = a[0] - a[1];
  } else if (r == 4) {
    const Complex even_sum = a[0] + a[2], even_diff = a[0] - a[2];
    const Complex odd_sum = a[1] + a[3], odd_diff = a[1] - a[3];
    const Complex turned{odd_diff.im, -odd_diff.re};  // -i * odd_diff
    b[0] = even_sum + odd_sum;
    b[1] = even_diff + turned;
    b[2] = even_sum - odd_sum;
    b[3] = even_diff - turned;
  } else {
    for (std::int64_t j = 0; j < r; ++j) {
      Complex sum = a[0];
      for (std::int64_t k = 1; k < r; ++k) sum = sum + a[k] * roots[(j * k % r) * step];
      b[j] = sum;
    }
  }
}

}  // namespace

Fft::Fft(std::int64_t n) : n_(n), factors_(factorize(n)) {
  if (!factors_.empty() && factors_.back() > kLargestRadix) {
    const auto length = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(2 * n - 1)));
    convolution_ = std::make_unique<Fft>(length);
    scratch_size_ = length + convolution_->scratch_size();
    chirp_.resize(n);
    // j^2 modulo 2n keeps the angle exact where j^2 would not fit a double.
    for (std::int64_t j = 0; j < n; ++j) chirp_[j] = unit_root(j * j % (2 * n), 2 * n);
    chirp_spectrum_.assign(length, {});
    for (std::int64_t j = 0; j < n; ++j) {
      const Complex value{chirp_[j].re / static_cast<double>(length), -chirp_[j].im / static_cast<double>(length)};
      chirp_spectrum_[j] = value;
      chirp_spectrum_[(length - j) % length] = value;
    }
    std::vector<Complex> scratch(convolution_->scratch_size());
    convolution_->run(chirp_spectrum_.data(), scratch.data());
    return;
  }
  scratch_size_ = n;
  roots_.resize(n);
  for (std::int64_t j = 0; j < n; ++j) roots_[j] = unit_root(j, n);
}

void Fft::run(Complex* x, Complex* scratch) const {
  convolution_ ? run_bluestein(x, scratch) : run_mixed_radix(x, scratch);
}

// Each pass splits off one radix r and writes in natural order: x is (r, m, s) before, (m, r, s) after.
void Fft::run_mixed_radix(Complex* x, Complex* scratch) const {
  Complex* from = x;
  Complex* to = scratch;
  std::array<Complex, kLargestRadix> a, b;
  std::int64_t length = n_;
  std::int64_t s = 1;
  for (const std::int64_t r : factors_) {
    const std::int64_t m = length / r;
    for (std::int64_t p = 0; p < m; ++p) {
      for (std::int64_t q = 0; q < s; ++q) {
        for (std::int64_t k = 0; k < r; ++k) a[k] = from[q + s * (p + m * k)];
        butterfly(r, a.data(), b.data(), roots_.data(), n_ / r);
        for (std::int64_t j = 0; j < r; ++j) to[q + s * (r * p + j)] = b[j] * roots_[p * j * s];
      }
    }
    length = m;
    s *= r;
    std::swap(from, to);
  }
  if (from != x) std::copy(from, from + n_, x);
}

void Fft::run_bluestein(Complex* x, Complex* scratch) const {
  const auto length = static_cast<std::int64_t>(chirp_spectrum_.size());
  Complex* work = scratch;
  Complex* inner = scratch + length;
  for (std::int64_t j = 0; j < n_; ++j) work[j] = x[j] * chirp_[j];
  std::fill(work + n_, work + length, Complex{});
  convolution_->run(work, inner);
  // The inverse transform is the forward one between two conjugations.
  for (std::int64_t k = 0; k < length; ++k) {
    const Complex product = work[k] * chirp_spectrum_[k];
    work[k] = {product.re, -product.im};
  }
  convolution_->run(work, inner);
  for (std::int64_t k = 0; k < n_; ++k) x[k] = Complex{work[k].re, -work[k].im} * chirp_[k];
}

}  // namespace clinaug
