// The mel contract as the kernels see it; field for field `clinaug_fast.MelConfig`.
#pragma once

#include <cstdint>

namespace clinaug {

enum class Window { hann, hamming, blackman, boxcar };
enum class MelScale { slaney, htk };
enum class FilterNorm { none, slaney };
enum class PadMode { reflect, constant, edge };
enum class LogKind { ln, log10, db };

struct LogMelParams {
  std::int64_t sample_rate = 44100;
  std::int64_t n_fft = 2048;
  std::int64_t win_length = 2048;
  std::int64_t hop_length = 512;
  Window window = Window::hann;
  std::int64_t n_mels = 64;
  double f_min = 0.0;
  double f_max = 22050.0;
  MelScale mel_scale = MelScale::slaney;
  FilterNorm norm = FilterNorm::slaney;
  int power = 2;
  bool center = true;
  PadMode pad_mode = PadMode::reflect;
  LogKind log = LogKind::ln;
  double floor = 1e-10;

  std::int64_t n_bins() const { return n_fft / 2 + 1; }

  // Samples that stand before x[0] in frame 0.
  std::int64_t padding() const { return center ? n_fft / 2 : 0; }

  // An empty waveform has no frames, whatever the padding.
  std::int64_t n_frames(std::int64_t n_samples) const {
    const std::int64_t padded = n_samples + 2 * padding();
    return n_samples <= 0 || padded < n_fft ? 0 : 1 + (padded - n_fft) / hop_length;
  }
};

// Where sample i of the padded waveform lies in the n samples at hand; -1 stands for a zero. `reflect` mirrors without
// repeating the edge, as often as it takes, as numpy.pad does; a single sample mirrors onto itself.
inline std::int64_t padded_index(std::int64_t i, std::int64_t n, PadMode mode) {
  if (i >= 0 && i < n) return i;
  if (mode == PadMode::constant) return -1;
  if (mode == PadMode::edge || n == 1) return i < 0 ? 0 : n - 1;
  const std::int64_t period = 2 * (n - 1);
  const std::int64_t phase = ((i % period) + period) % period;
  return phase < n ? phase : period - phase;
}

}  // namespace clinaug
