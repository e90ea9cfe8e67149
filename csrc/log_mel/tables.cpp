#include "log_mel/tables.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace clinaug {
namespace {

// Slaney's Auditory Toolbox (1998): linear below 1 kHz, 27 mels for each factor of 6.4 above.
constexpr double kHzPerMel = 200.0 / 3.0;
constexpr double kLogStartHz = 1000.0;
constexpr double kLogStartMel = kLogStartHz / kHzPerMel;
const double kLogStep = std::log(6.4) / 27.0;

double hz_to_mel(double hz, MelScale scale) {
  if (scale == MelScale::htk) return 2595.0 * std::log10(1.0 + hz / 700.0);
  return hz < kLogStartHz ? hz / kHzPerMel : kLogStartMel + std::log(hz / kLogStartHz) / kLogStep;
}

double mel_to_hz(double mel, MelScale scale) {
  if (scale == MelScale::htk) return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
  return mel < kLogStartMel ? mel * kHzPerMel : kLogStartHz * std::exp(kLogStep * (mel - kLogStartMel));
}

}  // namespace

std::vector<double> make_window(const LogMelParams& params) {
  std::vector<double> window(params.win_length);
  if (params.win_length == 1) return {1.0};  // as torch, scipy and numpy: the formulas would give an end
  for (std::int64_t i = 0; i < params.win_length; ++i) {
    const double phase = 2.0 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(params.win_length);
    switch (params.window) {
      case Window::hann: window[i] = 0.5 - 0.5 * std::cos(phase); break;
      case Window::hamming: window[i] = 0.54 - 0.46 * std::cos(phase); break;
      case Window::blackman: window[i] = 0.42 - 0.5 * std::cos(phase) + 0.08 * std::cos(2.0 * phase); break;
      case Window::boxcar: window[i] = 1.0; break;
    }
  }
  return window;
}

double log_scale(const LogMelParams& params) {
  switch (params.log) {
    case LogKind::ln: return 1.0;
    case LogKind::log10: return 1.0 / std::numbers::ln10;
    case LogKind::db: return 20.0 / params.power / std::numbers::ln10;
  }
  return 1.0;
}

std::vector<double> mel_edges_hz(const LogMelParams& params) {
  const double low = hz_to_mel(params.f_min, params.mel_scale);
  const double high = hz_to_mel(params.f_max, params.mel_scale);
  std::vector<double> edges(params.n_mels + 2);
  for (std::size_t i = 0; i < edges.size(); ++i) {
    edges[i] = mel_to_hz(low + (high - low) * static_cast<double>(i) / static_cast<double>(edges.size() - 1), params.mel_scale);
  }
  return edges;
}

std::vector<MelBand> make_mel_bands(const LogMelParams& params) {
  const std::vector<double> edges = mel_edges_hz(params);
  const double hz_per_bin = static_cast<double>(params.sample_rate) / static_cast<double>(params.n_fft);
  std::vector<MelBand> bands(params.n_mels);
  for (std::int64_t m = 0; m < params.n_mels; ++m) {
    const double left = edges[m], centre = edges[m + 1], right = edges[m + 2];
    const double height = params.norm == FilterNorm::slaney ? 2.0 / (right - left) : 1.0;
    MelBand& band = bands[m];
    for (auto bin = std::max<std::int64_t>(0, static_cast<std::int64_t>(left / hz_per_bin) - 1); bin < params.n_bins(); ++bin) {
      const double hz = static_cast<double>(bin) * hz_per_bin;
      if (hz > right) break;
      const double weight = std::min((hz - left) / (centre - left), (right - hz) / (right - centre));
      if (!(weight > 0.0)) continue;  // nor where edges coincide and it is no number
      if (band.weights.empty()) band.start = bin;
      band.weights.push_back(height * weight);
    }
  }
  return bands;
}

MelWalk make_mel_walk(const LogMelParams& params) {
  const std::vector<double> edges = mel_edges_hz(params);
  const std::vector<MelBand> bands = make_mel_bands(params);
  const auto slope = [&](std::int64_t band, std::int64_t bin) {
    if (band < 0 || band >= params.n_mels) return 0.0;
    const std::int64_t i = bin - bands[band].start;
    const bool inside = i >= 0 && i < static_cast<std::int64_t>(bands[band].weights.size());
    return inside ? bands[band].weights[i] : 0.0;
  };
  const double hz_per_bin = static_cast<double>(params.sample_rate) / static_cast<double>(params.n_fft);
  std::int64_t bin = 0;
  const auto skip_to = [&](double hz) {
    while (bin < params.n_bins() && static_cast<double>(bin) * hz_per_bin < hz) ++bin;
    return static_cast<int>(bin);
  };
  MelWalk walk;
  walk.starts.push_back(skip_to(edges[0]));
  for (std::int64_t segment = 0; segment <= params.n_mels; ++segment) {
    const int end = skip_to(edges[segment + 1]);
    for (std::int64_t k = walk.starts.back(); k < end; ++k) {
      walk.slopes.push_back(slope(segment - 1, k));
      walk.slopes.push_back(slope(segment, k));
    }
    walk.starts.push_back(end);
  }
  return walk;
}

}  // namespace clinaug
