// What is measured of samples and made of them before log_mel: level, mono mix, energy of windows. Samples are int16 of
// full scale 32768 or float of full scale 1; sums of int16 are exact, those of float are taken in an order of their own,
// so that the same samples give the same bits whichever way they were decoded.
#pragma once

#include <cstdint>
#include <span>

#include "common/fresh.hpp"
#include "common/view.hpp"

namespace clinaug {

struct Level {
  std::int64_t n = 0;       // samples, of all channels
  double peak = 0.0;        // max |x|
  std::int64_t clipped = 0; // |x| >= 1 - 2^-15, or than a coarser format's largest number
  double square_sum = 0.0;  // of x^2
  std::int64_t silent = 0;  // |x| < 1e-3 (-60 dBFS)
};

inline constexpr float kClippedFrom = 1.0f - 0x1p-15f;

Level measure_level(std::span<const std::int16_t> samples);
Level measure_level(std::span<const float> samples, float clipped_from = kClippedFrom);

// The mean of `channels` interleaved channels: added up in float from the first to the last, then divided.
void mix_to_mono(std::span<const std::int16_t> interleaved, std::int64_t channels, Fresh<float>& mono);
void mix_to_mono(std::span<const float> interleaved, std::int64_t channels, Fresh<float>& mono);

// Mean of x^2 over each row of (n, length), any strides; `energy` holds n.
void window_energy(View<const std::int16_t, 2> windows, double* energy);
void window_energy(View<const float, 2> windows, double* energy);

}  // namespace clinaug
