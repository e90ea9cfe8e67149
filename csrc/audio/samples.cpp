#include "audio/samples.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#ifdef CLINAUG_HAS_CLONES
#define CLINAUG_CLONES __attribute__((target_clones("avx2", "default")))
#define CLINAUG_IN_CLONES __attribute__((always_inline)) inline  // part of whichever version calls it
#else
#define CLINAUG_CLONES
#define CLINAUG_IN_CLONES inline
#endif

namespace clinaug {
namespace {

constexpr std::int64_t kLanes = 8;
constexpr std::int64_t kBlock = 1 << 13;  // stays in the first-level cache; its counts and sums fit 16 and 32 bits
constexpr float kSilentBelow = 1e-3f;
constexpr std::int32_t kInfinity = 0x7f800000;  // the bits
constexpr std::int16_t kClippedFromInt = 32767, kSilentUpToInt = 32;  // the same limits times 32768

float unit(std::int16_t sample) { return static_cast<float>(sample) * 0x1p-15f; }
float unit(float sample) { return sample; }

// The sum of x^2, times 2^30, of one block. With x = 256 high + low the three sums fit 32 bits, which twice as many vector
// lanes add up as 64.
struct Squares {
  std::int32_t high_high = 0, high_low = 0, low_low = 0;

  CLINAUG_IN_CLONES void add(std::int16_t x) {
    const auto high = static_cast<std::int16_t>(x >> 8), low = static_cast<std::int16_t>(x & 255);
    high_high += high * high;
    high_low += high * low;
    low_low += low * low;
  }
  CLINAUG_IN_CLONES std::int64_t sum() const { return 65536LL * high_high + 512LL * high_low + low_low; }
};

CLINAUG_IN_CLONES std::int16_t clipped_of_block(std::span<const std::int16_t> block) {
  std::int16_t clipped = 0;
  for (const std::int16_t sample : block) {
    clipped += static_cast<std::int16_t>((sample >= kClippedFromInt) | (sample <= -kClippedFromInt));
  }
  return clipped;
}

CLINAUG_IN_CLONES double sum_of_squares(const std::int16_t* x, std::int64_t n, std::int64_t stride) {
  std::int64_t sum = 0;
  for (std::int64_t at = 0; at < n; at += kBlock) {
    Squares squares;
    for (std::int64_t i = at; i < std::min(at + kBlock, n); ++i) squares.add(x[i * stride]);
    sum += squares.sum();
  }
  return static_cast<double>(sum) * 0x1p-30;
}

// Sample i goes into lane i % kLanes: an order that vector registers can follow.
CLINAUG_IN_CLONES double sum_of_squares(const float* x, std::int64_t n, std::int64_t stride) {
  std::array<double, kLanes> lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = x[(i + lane) * stride];
      lanes[lane] += value * value;
    }
  }
  for (std::int64_t lane = 0; i + lane < n; ++lane) {
    const double value = x[(i + lane) * stride];
    lanes[lane] += value * value;
  }
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// Two channels, in loops that vectorise. A sum of two int16 is exact in float, so scaling it afterwards changes no bit.
float mean(std::int16_t left, std::int16_t right) { return static_cast<float>(left + right) * 0x1p-16f; }
float mean(float left, float right) { return (left + right) / 2.0f; }

template <class T>
CLINAUG_IN_CLONES void mix(std::span<const T> from, std::int64_t channels, Fresh<float>& mono) {
  mono.resize(from.size() / channels);
  const auto n = static_cast<std::int64_t>(mono.size());
  if (channels == 2) {
    for (std::int64_t i = 0; i < n; ++i) mono[i] = mean(from[2 * i], from[2 * i + 1]);
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    float sum = unit(from[i * channels]);
    for (std::int64_t channel = 1; channel < channels; ++channel) sum += unit(from[i * channels + channel]);
    mono[i] = sum / static_cast<float>(channels);
  }
}

template <class T>
CLINAUG_IN_CLONES void energy_of_windows(View<const T, 2> windows, double* energy) {
  const auto length = static_cast<double>(windows.extent[1]);
  for (std::int64_t i = 0; i < windows.extent[0]; ++i) {
    const T* window = windows.data + i * windows.stride[0];
    // A stride that is known at compile time: without it the loop does not vectorise.
    const double sum = windows.stride[1] == 1 ? sum_of_squares(window, windows.extent[1], 1)
                                              : sum_of_squares(window, windows.extent[1], windows.stride[1]);
    energy[i] = sum / length;
  }
}

}  // namespace

CLINAUG_CLONES Level measure_level(std::span<const std::int16_t> samples) {
  Level level;
  level.n = static_cast<std::int64_t>(samples.size());
  std::int16_t lowest = 0, highest = 0;
  std::int64_t squares = 0;
  for (std::int64_t at = 0; at < level.n; at += kBlock) {
    const std::span block = samples.subspan(at, std::min(kBlock, level.n - at));
    std::int16_t low = 0, high = 0, silent = 0;
    Squares of_block;
    for (const std::int16_t sample : block) {
      low = std::min(low, sample);
      high = std::max(high, sample);
      // |sample| <= kSilentUpToInt, in one comparison.
      silent += static_cast<std::int16_t>(static_cast<std::uint16_t>(sample + kSilentUpToInt) <= 2 * kSilentUpToInt);
      of_block.add(sample);
    }
    level.silent += silent;
    if (high >= kClippedFromInt || low <= -kClippedFromInt) level.clipped += clipped_of_block(block);
    lowest = std::min(lowest, low);
    highest = std::max(highest, high);
    squares += of_block.sum();
  }
  level.peak = std::max<double>(highest, -static_cast<double>(lowest)) * 0x1p-15;
  level.square_sum = static_cast<double>(squares) * 0x1p-30;
  return level;
}

CLINAUG_CLONES Level measure_level(std::span<const float> samples, float clipped_from) {
  Level level;
  level.n = static_cast<std::int64_t>(samples.size());
  for (std::int64_t at = 0; at < level.n; at += kBlock) {
    const std::span block = samples.subspan(at, std::min(kBlock, level.n - at));
    std::int32_t clipped = 0, silent = 0;
    for (const float sample : block) {
      const float size = std::abs(sample);
      clipped += static_cast<std::int32_t>(size >= clipped_from);
      silent += static_cast<std::int32_t>(size < kSilentBelow);
    }
    level.clipped += clipped;
    level.silent += silent;
    // As bits, which order sizes as numbers do; what is not a number lies above infinity.
    std::int32_t peak = 0;
    for (const float sample : block) {
      const std::int32_t bits = std::bit_cast<std::int32_t>(sample) & 0x7fffffff;
      peak = std::max(peak, bits <= kInfinity ? bits : 0);
    }
    level.peak = std::max<double>(level.peak, std::bit_cast<float>(peak));
  }
  level.square_sum = sum_of_squares(samples.data(), level.n, 1);
  return level;
}

CLINAUG_CLONES void mix_to_mono(std::span<const std::int16_t> interleaved, std::int64_t channels, Fresh<float>& mono) {
  mix(interleaved, channels, mono);
}

CLINAUG_CLONES void mix_to_mono(std::span<const float> interleaved, std::int64_t channels, Fresh<float>& mono) {
  mix(interleaved, channels, mono);
}

CLINAUG_CLONES void window_energy(View<const std::int16_t, 2> windows, double* energy) { energy_of_windows(windows, energy); }

CLINAUG_CLONES void window_energy(View<const float, 2> windows, double* energy) { energy_of_windows(windows, energy); }

}  // namespace clinaug
