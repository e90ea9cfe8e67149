// Matrices as the layers want them: in the numbers that are computed in, rows padded with zeros; and back.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "common/convert.hpp"
#include "residual_se/passes/kernel.hpp"

namespace clinaug::se {

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
    for (Index c = 0; c < columns; ++c) out[c] = widen(from[row * columns + c]);
    std::fill(out + columns, out + width, Real{0});
  }
  return room.data();
}

// (rows, padded(columns)) -> (rows, columns)
template <class T, class Real>
void unpad_rows(Index rows, Index columns, const Real* from, T* to) {
  for (Index row = 0; row < rows; ++row) {
    for (Index c = 0; c < columns; ++c) to[row * columns + c] = narrow<T>(from[row * padded(columns) + c]);
  }
}

// (rows, padded(columns)) -> (columns, rows), in tiles that stay in the nearest cache.
template <class T, class Real>
void unpad_transposed(Index rows, Index columns, const Real* from, T* to) {
  constexpr Index kTile = 16;
  for (Index r = 0; r < rows; r += kTile) {
    for (Index c = 0; c < columns; c += kTile) {
      for (Index i = r; i < std::min(r + kTile, rows); ++i) {
        for (Index j = c; j < std::min(c + kTile, columns); ++j) to[j * rows + i] = narrow<T>(from[i * padded(columns) + j]);
      }
    }
  }
}

}  // namespace clinaug::se
