// What both kernels share of the way over a sample: the values of channels for a run of elements, what slices found, where arrays
// lie in shared memory.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"
#include "residual_se/device/element.hpp"
#include "residual_se/device/geometry.hpp"
#include "residual_se/device/reduce.hpp"

namespace clinaug::se {

// Offsets in bytes into dynamic shared memory. The tile keeps a slice between its two visits.
struct Offsets {
  std::int64_t tile = 0, parts = 0, sums = 0, exchange = 0, hidden = 0, gate = 0, shift = 0;
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

// values[k] = of_channel[channel of element i + k]
template <int kCount, class Array, class Real>
CLINAUG_HOST_DEVICE void spread(const Geometry& g, const Slice& slice, const Array& of_channel, int i, Real (&values)[kCount]) {
  const int c = slice.channel_of(g, i);
  if (kCount > 1 && !slice.whole_vectors) {
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) values[k] = of_channel[slice.channel_of(g, i + k)];
  } else if (g.channels_last) {
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) values[k] = of_channel[c + k];
  } else {
    const Real value = of_channel[c];
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) values[k] = value;
  }
}

// What a channel's slices found, added up in the order of the slices. part(slice, place)
template <class Real, class Part>
CLINAUG_HOST_DEVICE Real over_slices(const Geometry& g, std::int64_t c, const Part& part) {
  const Touching touching(g, c);
  Real sum{0};
  for (std::int64_t s = touching.first; s <= touching.last; ++s) sum += part(s, Touching::place(g, s, c));
  return sum;
}

// The same by a block for all channels, from parts (slices, width) in global memory: finish(c, sum).
template <class Real, class Block, class Finish>
CLINAUG_HOST_DEVICE void sum_parts(Block& block, const Geometry& g, const Real* parts, const Finish& finish) {
  const std::int64_t most = g.channels_last ? g.slices : (g.spatial - 1) / g.slice + 2;
  reduce<Real>(
      block, g.channels, team_for(block.threads, g.channels, most),
      [&](std::int64_t c) {
        const Touching touching(g, c);
        return touching.last - touching.first + 1;
      },
      [&](std::int64_t c, std::int64_t i) {
        const std::int64_t slice = Touching(g, c).first + i;
        return parts[slice * g.width + Touching::place(g, slice, c)];
      },
      finish);
}

}  // namespace clinaug::se
