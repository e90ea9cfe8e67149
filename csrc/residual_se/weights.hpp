// Matrices as the layers want them: in the numbers that are computed in, rows padded with zeros; and back.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>
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

// (rows, columns) -> (rows, padded(columns)), in `room` unless it lies so already.
template <class T, class Real>
const Real* pad_rows(Index rows, Index columns, const T* from, std::vector<Real>& room) {
  const Index width = padded(columns);
  if constexpr (std::is_same_v<T, Real>) {
    if (width == columns) return from;
  }
  room.resize(rows * width);
  for (Index row = 0; row < rows; ++row) {
    Real* out = room.data() + row * width;
    for (Index c = 0; c < columns; ++c) out[c] = to_real(from[row * columns + c]);
    std::fill(out + columns, out + width, Real{0});
  }
  return room.data();
}

// (rows, padded(columns)) -> (rows, columns)
template <class T, class Real>
void unpad_rows(Index rows, Index columns, const Real* from, T* to) {
  for (Index row = 0; row < rows; ++row) {
    for (Index c = 0; c < columns; ++c) from_real(from[row * padded(columns) + c], to[row * columns + c]);
  }
}

// (rows, padded(columns)) -> (columns, rows), in tiles that stay in the nearest cache.
template <class T, class Real>
void unpad_transposed(Index rows, Index columns, const Real* from, T* to) {
  constexpr Index kTile = 16;
  for (Index r = 0; r < rows; r += kTile) {
    for (Index c = 0; c < columns; c += kTile) {
      for (Index i = r; i < std::min(r + kTile, rows); ++i) {
        for (Index j = c; j < std::min(c + kTile, columns); ++j) from_real(from[i * padded(columns) + j], to[j * rows + i]);
      }
    }
  }
}

}  // namespace clinaug::se
