// The constant tables of a contract, computed once in double precision: window and mel filters.
#pragma once

#include <cstdint>
#include <vector>

#include "log_mel/params.hpp"

namespace clinaug {

// (win_length,) periodic window. It lies centred in the frame, from window_start(params).
std::vector<double> make_window(const LogMelParams& params);

inline std::int64_t window_start(const LogMelParams& params) { return (params.n_fft - params.win_length) / 2; }

// A triangular band: weights for the bins [start, start + weights.size()), zero elsewhere.
struct MelBand {
  std::int64_t start = 0;
  std::vector<double> weights;
};

// n_mels bands over the n_bins() bins of the spectrum; an empty band has no weights.
std::vector<MelBand> make_mel_bands(const LogMelParams& params);

}  // namespace clinaug
