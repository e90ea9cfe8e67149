// The short numbers of tensors as they lie in memory, and what is computed in their stead. Types only: the vector kernels,
// which may call no inline function from outside, include this too.
#pragma once

#include <cstdint>
#include <type_traits>

namespace clinaug {

// IEEE binary16.
struct Half {
  std::uint16_t bits;
};

// The upper half of a float.
struct Bfloat16 {
  std::uint16_t bits;
};

// What sums, gates and layers are computed in: double for double, float for the others.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace clinaug
