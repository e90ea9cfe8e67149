// The constant tables of a contract, computed once in double precision: window, mel filters, log scale.
#pragma once

#include <cstdint>
#include <vector>

#include "log_mel/params.hpp"

namespace clinaug {

// (win_length,) periodic window. It lies centred in the frame, from window_start(params).
std::vector<double> make_window(const LogMelParams& params);

inline std::int64_t window_start(const LogMelParams& params) { return (params.n_fft - params.win_length) / 2; }

// n_mels + 2 frequencies: band m rises from edge m to m + 1 and falls to m + 2.
std::vector<double> mel_edges_hz(const LogMelParams& params);

// A triangular band: weights for the bins [start, start + weights.size()), zero elsewhere.
struct MelBand {
  std::int64_t start = 0;
  std::vector<double> weights;
};

// n_mels bands over the n_bins() bins of the spectrum; an empty band has no weights.
std::vector<MelBand> make_mel_bands(const LogMelParams& params);

// The bands as a walk along the bins: between the edges s and s + 1 ("segment" s) band s - 1 falls and band s rises, so a
// walk reads every bin once and has finished a band at the end of the segment it falls in.
struct MelWalk {
  std::vector<int> starts;    // (n_mels + 2,): segment s holds the bins [starts[s], starts[s + 1])
  std::vector<double> slopes;  // two a bin, from starts[0] on: its weight in the falling and in the rising band
};

MelWalk make_mel_walk(const LogMelParams& params);

// What a natural logarithm is multiplied by.
double log_scale(const LogMelParams& params);

}  // namespace clinaug
