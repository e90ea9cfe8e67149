#include "log_mel/lanes/chirp_plan.hpp"

#include <cmath>
#include <limits>
#include <numbers>

#include "log_mel/fft.hpp"
#include "log_mel/lanes/transform_plan.hpp"

namespace clinaug::lanes {

Index chirp_length(Index size) {
  const Index least = size + size / 2;  // lags from -(size - 1) to size / 2
  Index best = 0;
  double least_work = std::numeric_limits<double>::infinity();
  for (Index fives = 1; fives < 2 * least; fives *= 5) {
    for (Index threes = fives; threes < 2 * least; threes *= 3) {
      for (Index length = threes; length < 2 * least; length *= 2) {
        if (length < least) continue;
        const double work = static_cast<double>(length) * transform_cost(length);
        if (work >= least_work) continue;
        least_work = work;
        best = length;
      }
    }
  }
  return best;
}

ChirpValue chirp_value(Index t, Index size) {
  // t^2 modulo 2 size keeps the angle exact where t^2 would not fit a double.
  const double angle = std::numbers::pi * static_cast<double>(t * t % (2 * size)) / static_cast<double>(size);
  return {std::cos(angle), -std::sin(angle)};
}

std::vector<double> chirp_spectrum(Index size, Index length) {
  std::vector<Complex> chirp(length);
  const auto scale = 1.0 / static_cast<double>(length);
  for (Index lag = 0; lag < size; ++lag) {
    const ChirpValue value = chirp_value(lag, size);
    const Complex conjugate{scale * value.re, -scale * value.im};
    if (lag <= size / 2) chirp[lag] = conjugate;
    if (lag > 0) chirp[length - lag] = conjugate;
  }
  fft(chirp);
  std::vector<double> spectrum;
  for (const Complex& value : chirp) {
    spectrum.push_back(value.re);
    spectrum.push_back(value.im);
  }
  return spectrum;
}

}  // namespace clinaug::lanes
