// The weights of the two layers as the kernels want them: in the numbers that are computed in, a row of channels for each
// hidden unit in both, padded with zeros.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "residual_se/passes/kernel.hpp"

namespace clinaug::se {

inline float to_real(float value) { return value; }
inline double to_real(double value) { return value; }
inline float to_real(Bfloat16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }

inline void from_real(float value, float& to) { to = value; }
inline void from_real(double value, double& to) { to = value; }
inline void from_real(float value, Bfloat16& to) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = value == value ? bits + 0x7fff + ((bits >> 16) & 1) : bits | 0x00400000;
  to.bits = static_cast<std::uint16_t>(rounded >> 16);
}

inline Index padded(Index channels) { return (channels + kPadding - 1) / kPadding * kPadding; }

// A matrix is transposed in tiles that stay in the nearest cache. get(row, column) is stored by put(row, column, value).
template <class Get, class Put>
void copy_in_tiles(Index rows, Index columns, const Get& get, const Put& put) {
  constexpr Index kTile = 16;
  for (Index r = 0; r < rows; r += kTile) {
    for (Index c = 0; c < columns; c += kTile) {
      for (Index i = r; i < std::min(r + kTile, rows); ++i) {
        for (Index j = c; j < std::min(c + kTile, columns); ++j) put(i, j, get(i, j));
      }
    }
  }
}

// (rows, columns) -> (rows, padded(columns))
template <class T, class Real>
void pad_rows(Index rows, Index columns, const T* from, std::vector<Real>& to) {
  const Index width = padded(columns);
  to.resize(rows * width);
  for (Index row = 0; row < rows; ++row) {
    Real* out = to.data() + row * width;
    for (Index c = 0; c < columns; ++c) out[c] = to_real(from[row * columns + c]);
    std::fill(out + columns, out + width, Real{0});
  }
}

// (channels, hidden) -> (hidden, padded(channels))
template <class T, class Real>
void transpose_and_pad(Index channels, Index hidden, const T* from, std::vector<Real>& to) {
  const Index width = padded(channels);
  to.resize(hidden * width);
  copy_in_tiles(
      hidden, channels, [&](Index k, Index c) { return to_real(from[c * hidden + k]); },
      [&](Index k, Index c, Real value) { to[k * width + c] = value; });
  for (Index k = 0; k < hidden; ++k) std::fill(to.begin() + k * width + channels, to.begin() + (k + 1) * width, Real{0});
}

}  // namespace clinaug::se
