// What both kernels share of the way over a sample: entries of matrices, what slices found, where arrays
// lie in shared memory.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"
#include "residual_se/device/element.hpp"
#include "residual_se/device/geometry.hpp"
#include "residual_se/device/reduce.hpp"

namespace clinaug::se {

// Offsets in bytes into dynamic shared memory. The tile keeps a slice between its two visits; arrival is the hardware's cell
// that tells when it is there.
struct Offsets {
  std::int64_t arrival = 0, tile = 0, parts = 0, sums = 0, exchange = 0, hidden = 0, gate = 0, shift = 0;
  std::int64_t bytes = 0;
};

template <class Element>
CLINAUG_HOST_DEVICE std::uintptr_t in_elements(const Element* address) {
  return reinterpret_cast<std::uintptr_t>(address) / sizeof(Element);
}

// An address, or null, so many elements on.
template <class T>
CLINAUG_HOST_DEVICE T* on(T* address, std::int64_t elements) {
  return address == nullptr ? nullptr : address + elements;
}

// Of a matrix, in what is computed in.
template <class Real, class Weight>
CLINAUG_HOST_DEVICE Real entry(const Weight* matrix, int row, int columns, int column) {
  return static_cast<Real>(widen(matrix[std::int64_t{row} * columns + column]));
}

// What a channel's slices found, added up in the order of the slices. part(slice, place)
template <class Real, class Part>
CLINAUG_HOST_DEVICE Real over_slices(const Geometry& g, int c, const Part& part) {
  const Touching touching(g, c);
  Real sum{0};
  for (int s = touching.first; s <= touching.last; ++s) sum += part(s, Touching::place(g, s, c));
  return sum;
}

// The same by a block for all channels, from parts (slices, width) in global memory: finish(c, sum).
template <class Real, class Block, class Finish>
CLINAUG_HOST_DEVICE void sum_parts(Block& block, const Geometry& g, const Real* parts, const Finish& finish) {
  reduce<Real>(
      block, g.channels, g.gate_team,
      [&](int c) {
        const Touching touching(g, c);
        return touching.last - touching.first + 1;
      },
      [&](int c, int i) {
        const int slice = Touching(g, c).first + i;
        return parts[std::int64_t{slice} * g.width + Touching::place(g, slice, c)];
      },
      finish);
}

}  // namespace clinaug::se
