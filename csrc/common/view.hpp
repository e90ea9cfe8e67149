// A non-owning strided view: pointer, extents and strides in elements. What the kernels see of the caller's memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace clinaug {

template <class T, std::size_t Rank>
struct View {
  T* data = nullptr;
  std::array<std::int64_t, Rank> extent{};
  std::array<std::int64_t, Rank> stride{};
};

}  // namespace clinaug
