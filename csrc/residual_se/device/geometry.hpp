// How a sample is cut into slices, one a block, and which channel an element of a slice belongs to. A sample is a matrix in
// memory: "planes" (NCHW) has a row a channel, "pixels" (channels_last) a row a pixel.
#pragma once

#include <cstdint>

#include "common/divider.hpp"
#include "common/host_device.hpp"

namespace clinaug::se {

inline constexpr std::int64_t kDividable = std::int64_t{1} << 31;

// 2^log neighbouring threads.
struct Team {
  int log = 0;

  CLINAUG_HOST_DEVICE int lanes() const { return 1 << log; }
  CLINAUG_HOST_DEVICE int of(int thread) const { return thread >> log; }
  CLINAUG_HOST_DEVICE int lane(int thread) const { return thread & (lanes() - 1); }
};

// The largest team up to 32 with which `outputs` teams fit into the block, or that has a lane for each term.
inline Team team_for(int threads, std::int64_t outputs, std::int64_t terms) {
  Team team;
  while (team.lanes() < 32 && team.lanes() < terms && 2 * team.lanes() * outputs <= threads) ++team.log;
  return team;
}

// The problem and its cut, the same for all blocks. A slice is a run of `slice` elements of a sample, the last one shorter;
// it begins at a multiple of the vector ("planes") or of a pixel ("pixels").
struct Geometry {
  std::int64_t spatial = 0;
  std::int64_t sample = 0;  // channels * spatial
  int channels = 0, hidden = 0;
  int slice = 0;   // elements
  int slices = 0;  // of a sample; the blocks of a cluster where samples stay on chip
  int width = 0;   // channels that a slice touches at most
  int row = 0;     // elements of a row ("pixels"), or of what a slice has of it at most ("planes")
  bool channels_last = false;
  bool vectors = false;      // all tensors lie alike modulo 16 bytes
  bool whole_rows = false;   // rows are whole vectors
  Divider by_row, by_slice;  // spatial ("planes") or channels ("pixels"); elements of a slice
  // "planes": a team takes a chunk of a channel, `chunks` of them a channel.
  Team team;
  Divider by_chunks;
  int chunks = 1, chunk = 0;
  // Teams that add up a unit of the hidden layer, and a channel's gate.
  Team unit_team, gate_team;

  // Places in a sample pass what a Divider takes only where samples do not stay on chip.
  CLINAUG_HOST_DEVICE int plane_of(std::int64_t i) const {
    return i < kDividable ? by_row.quotient(static_cast<int>(i)) : static_cast<int>(i / spatial);
  }
  CLINAUG_HOST_DEVICE int slice_of(std::int64_t i) const {
    return i < kDividable ? by_slice.quotient(static_cast<int>(i)) : static_cast<int>(i / slice);
  }
};

// A run of elements of one channel, counted from the slice's first.
struct Run {
  int channel, begin, end;
};

struct Slice {
  int index = 0;
  std::int64_t begin = 0;      // in the sample
  int length = 0;              // elements
  int phase = 0;               // elements after a 16-byte boundary at which it begins
  int channel = 0;             // the first that it touches
  int channels = 0;            // how many it touches
  int head = 0;                // "planes": its elements in that first channel
  bool whole_vectors = false;  // no vector straddles a row

  // `address`: of the sample's first element, in elements.
  CLINAUG_HOST_DEVICE Slice(const Geometry& g, int number, std::uintptr_t address, int vector) {
    index = number;
    begin = std::int64_t{number} * g.slice;
    if (begin > g.sample) begin = g.sample;
    length = static_cast<int>(g.sample - begin < g.slice ? g.sample - begin : g.slice);
    phase = g.vectors ? static_cast<int>((address + begin) & (vector - 1)) : 0;
    whole_vectors = g.whole_rows && phase == 0;
    if (g.channels_last) {
      channels = g.channels;
    } else if (length > 0) {
      channel = g.plane_of(begin);
      channels = g.plane_of(begin + length - 1) - channel + 1;
      const std::int64_t left = (channel + 1) * g.spatial - begin;
      head = static_cast<int>(left < length ? left : length);
    }
  }

  // "planes": the number of runs, and one of them; it is empty where a channel has less than all chunks here.
  CLINAUG_HOST_DEVICE int runs(const Geometry& g) const { return channels * g.chunks; }
  CLINAUG_HOST_DEVICE Run run(const Geometry& g, int item) const {
    const int c = g.by_chunks.quotient(item), chunk = item - c * g.chunks;
    const int end = c == 0 ? head : head + c * g.row, last = end < length ? end : length;
    const int first = (c == 0 ? 0 : head + (c - 1) * g.row) + chunk * g.chunk;
    return {c, first, first + g.chunk < last ? first + g.chunk : last};
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
  int first, last;

  CLINAUG_HOST_DEVICE Touching(const Geometry& g, int c)
      : first(g.channels_last ? 0 : g.slice_of(c * g.spatial)),
        last(g.channels_last ? g.slices - 1 : g.slice_of((c + 1) * g.spatial - 1)) {}

  CLINAUG_HOST_DEVICE static int place(const Geometry& g, int slice, int c) {
    return g.channels_last ? c : c - g.plane_of(std::int64_t{slice} * g.slice);
  }
};

}  // namespace clinaug::se
