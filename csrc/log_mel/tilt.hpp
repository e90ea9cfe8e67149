// Whether the spectrum of a clip falls or rises, told by a few hundred of its samples, which costs a hundredth of its log-mel or less.
#pragma once

#include <array>
#include <cstdint>

#include "common/view.hpp"

namespace clinaug {

// Powers of runs of samples, and of the differences to the samples before; several sums side by side, for vectors.
class Tilt {
 public:
  static constexpr std::int64_t kRun = 16;

  // The samples from[1] .. from[kRun], `stride` apart. A run that holds NaN, infinity or what overflows says nothing.
  template <class In>
  inline void add(const In* from, std::int64_t stride) {
    Sums powers{}, differences{}, all;
    for (std::int64_t i = 0; i < kRun; i += kSums) {
      for (std::int64_t k = 0; k < kSums; ++k) {
        const float sample = static_cast<float>(from[(i + k + 1) * stride]);
        const float difference = sample - static_cast<float>(from[(i + k) * stride]);
        powers[k] += sample * sample;
        differences[k] += difference * difference;
      }
    }
    for (std::int64_t k = 0; k < kSums; ++k) all[k] = powers[k] + differences[k];
    const float sum = total(all);
    if (sum - sum != 0.0f) return;
    for (std::int64_t k = 0; k < kSums; ++k) {
      powers_[k] += powers[k];
      differences_[k] += differences[k];
    }
  }

  // Differences of white noise have twice its power, within a tenth.
  bool is_steep() const {
    const float power = total(powers_), differences = total(differences_);
    return differences < kFalling * power || differences > kRising * power;
  }

 private:
  static constexpr float kFalling = 1.5f, kRising = 2.5f;
  static constexpr std::int64_t kSums = 8;
  using Sums = std::array<float, kSums>;

  static float total(Sums sums) {
    for (std::int64_t half = kSums / 2; half > 0; half /= 2) {
      for (std::int64_t k = 0; k < half; ++k) sums[k] += sums[k + half];
    }
    return sums[0];
  }

  Sums powers_{}, differences_{};
};

// Of runs that are evenly spaced. In: float, int16.
template <class In>
bool tilts(View<const In, 1> x) {
  constexpr std::int64_t kRuns = 16;
  const std::int64_t last = x.extent[0] - Tilt::kRun - 1, stride = x.stride[0];
  if (last < 0) return false;
  Tilt tilt;
  for (std::int64_t run = 0; run < kRuns; ++run) {
    const In* const from = x.data + last * run / (kRuns - 1) * stride;
    stride == 1 ? tilt.add(from, 1) : tilt.add(from, stride);
  }
  return tilt.is_steep();
}

}  // namespace clinaug
