// The tables of chirp.hpp.
#pragma once

#include <vector>

#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

// The cheapest smooth length that holds the convolution of `size` samples with the chirp.
Index chirp_length(Index size);

// exp(-i pi t^2 / size).
struct ChirpValue {
  double re, im;
};
ChirpValue chirp_value(Index t, Index size);

// (length) pairs (re, im): the spectrum of the conjugate chirp, divided by the length.
std::vector<double> chirp_spectrum(Index size, Index length);

}  // namespace clinaug::lanes
