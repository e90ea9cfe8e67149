#include "log_mel/fft.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace clinaug {
namespace {

constexpr std::int64_t kLargestRadix = 5;

Complex unit_root(std::int64_t numerator, std::int64_t denominator) {
  const double angle = -2.0 * std::numbers::pi * static_cast<double>(numerator) / static_cast<double>(denominator);
  return {std::cos(angle), std::sin(angle)};
}

std::vector<std::int64_t> factorize(std::int64_t n) {
  std::vector<std::int64_t> factors;
  for (const std::int64_t radix : {4, 2, 3, 5}) {
    for (; n % radix == 0; n /= radix) factors.push_back(radix);
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

// Stockham: each pass splits off one radix r and writes in natural order: x is (r, m, s) before, (m, r, s) after.
void fft(std::vector<Complex>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<Complex> roots, to(n);  // exp(-2 pi i j / n), j < n
  for (std::int64_t j = 0; j < n; ++j) roots.push_back(unit_root(j, n));
  std::array<Complex, kLargestRadix> a, b;
  std::int64_t length = n;
  std::int64_t s = 1;
  for (const std::int64_t r : factorize(n)) {
    const std::int64_t m = length / r;
    for (std::int64_t p = 0; p < m; ++p) {
      for (std::int64_t q = 0; q < s; ++q) {
        for (std::int64_t k = 0; k < r; ++k) a[k] = x[q + s * (p + m * k)];
        butterfly(r, a.data(), b.data(), roots.data(), n / r);
        for (std::int64_t j = 0; j < r; ++j) to[q + s * (r * p + j)] = b[j] * roots[p * j * s];
      }
    }
    length = m;
    s *= r;
    x.swap(to);
  }
}

}  // namespace clinaug
