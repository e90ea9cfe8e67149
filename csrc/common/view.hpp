// A non-owning strided view: pointer, extents and strides in elements. What the kernels see of the caller's memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace clinaug {

// An IEEE half as it lies in memory.
struct Half {
  std::uint16_t bits;
};

// A bfloat16 as it lies in memory: the upper half of a float.
struct Bfloat16 {
  std::uint16_t bits;
};

template <class T, std::size_t Rank>
struct View {
  T* data = nullptr;
  std::array<std::int64_t, Rank> extent{};
  std::array<std::int64_t, Rank> stride{};
};

}  // namespace clinaug
