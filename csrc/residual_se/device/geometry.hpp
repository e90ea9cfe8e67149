// How a sample is cut into slices, one a block, and which channel an element of a slice belongs to. A sample is a matrix in
// memory: "planes" (NCHW) has a row a channel, "pixels" (channels_last) a row a pixel.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace clinaug::se {

// Division of n < 2^31 by a constant: with 2^(l-1) < d <= 2^l and m = ceil(2^(31+l) / d), m d exceeds 2^(31+l) by less than
// 2^l, so n m / 2^(31+l) has the floor of n / d (Granlund and Montgomery 1994).
struct Divider {
  std::uint32_t divisor = 1;
  std::uint32_t factor = 1u << 31;
  std::uint32_t shift = 31;

  Divider() = default;
  explicit Divider(std::int64_t by) {  // a larger divisor than any n gives zero, as 2^31 does
    divisor = static_cast<std::uint32_t>(by < (std::int64_t{1} << 31) ? by : std::int64_t{1} << 31);
    std::uint32_t log = 0;
    while ((std::uint64_t{1} << log) < divisor) ++log;
    shift = 31 + log;
    factor = static_cast<std::uint32_t>(((std::uint64_t{1} << shift) + divisor - 1) / divisor);
  }

  CLINAUG_HOST_DEVICE int quotient(int n) const {
    return static_cast<int>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(n)) * factor >> shift);
  }
  CLINAUG_HOST_DEVICE int remainder(int n) const { return n - static_cast<int>(quotient(n) * divisor); }
};

// The problem and its cut, the same for all blocks. A slice is a run of `slice` elements of a sample, the last one shorter;
// it begins at a multiple of the vector ("planes") or of a pixel ("pixels").
struct Geometry {
  std::int64_t batch = 0, channels = 0, hidden = 0, spatial = 0;
  std::int64_t sample = 0;  // channels * spatial
  std::int64_t slice = 0;   // elements, below 2^31
  std::int64_t slices = 0;  // of a sample; the blocks of a cluster where samples stay on chip
  std::int64_t width = 0;   // channels that a slice touches at most
  bool channels_last = false;
  bool vectors = false;  // all tensors lie alike modulo 16 bytes
  Divider by_row;        // spatial ("planes") or channels ("pixels")
  // "planes": a team of 2^n lanes sums a chunk of a channel, `chunks` of them a channel.
  int team = 1, chunks = 1;
  std::int64_t chunk = 0;

  CLINAUG_HOST_DEVICE std::int64_t row() const { return channels_last ? channels : spatial; }
};

struct Slice {
  std::int64_t index = 0;
  std::int64_t begin = 0;    // in the sample
  int length = 0;            // elements
  int phase = 0;             // elements after a 16-byte boundary at which it begins
  std::int64_t channel = 0;  // the first that it touches
  int channels = 0;          // how many it touches
  int head = 0;              // "planes": its elements in that first channel
  bool whole_vectors = false;  // no vector straddles a row

  // `address`: of the slice's first element, in elements.
  CLINAUG_HOST_DEVICE Slice(const Geometry& g, std::int64_t number, std::uintptr_t address, int vector) {
    index = number;
    begin = number * g.slice < g.sample ? number * g.slice : g.sample;
    length = static_cast<int>(g.sample - begin < g.slice ? g.sample - begin : g.slice);
    phase = g.vectors ? static_cast<int>(address % vector) : 0;
    whole_vectors = g.vectors && phase == 0 && g.row() % vector == 0;
    if (g.channels_last) {
      channels = static_cast<int>(g.channels);
    } else if (length > 0) {
      channel = begin / g.spatial;
      channels = static_cast<int>((begin + length - 1) / g.spatial - channel) + 1;
      const std::int64_t left = (channel + 1) * g.spatial - begin;
      head = static_cast<int>(left < length ? left : length);
    }
  }

  // Of element i, counted from `channel`.
  CLINAUG_HOST_DEVICE int channel_of(const Geometry& g, int i) const {
    if (g.channels_last) return g.by_row.remainder(i);
    return i < head ? 0 : 1 + g.by_row.quotient(i - head);
  }

  // "planes": where channel c of this slice begins in it.
  CLINAUG_HOST_DEVICE int channel_begin(const Geometry& g, int c) const {
    return c == 0 ? 0 : static_cast<int>(head + (c - 1) * g.spatial);
  }
  CLINAUG_HOST_DEVICE int channel_end(const Geometry& g, int c) const {
    const std::int64_t end = head + c * g.spatial;
    return static_cast<int>(end < length ? end : length);
  }

  // One slice of all that touch a channel keeps what is known of it once: the one with its first element, or, where every
  // slice touches every channel, one after the other.
  CLINAUG_HOST_DEVICE bool owns(const Geometry& g, int c) const {
    if (g.channels_last) return c % g.slices == index;
    return c > 0 || channel * g.spatial >= begin;
  }
};

// The slices that touch channel c of the sample, first to last, and where it stands among those that such a slice touches.
struct Touching {
  std::int64_t first, last;

  CLINAUG_HOST_DEVICE Touching(const Geometry& g, std::int64_t c)
      : first(g.channels_last ? 0 : c * g.spatial / g.slice),
        last(g.channels_last ? g.slices - 1 : ((c + 1) * g.spatial - 1) / g.slice) {}

  CLINAUG_HOST_DEVICE static std::int64_t place(const Geometry& g, std::int64_t slice, std::int64_t c) {
    return g.channels_last ? c : c - slice * g.slice / g.spatial;
  }
};

}  // namespace clinaug::se
