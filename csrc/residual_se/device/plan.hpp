// How a problem is laid over a device: on chip by clusters of blocks where a sample fits, else through L2. Ordinary C++, so
// that the choice is tested without a device.
#pragma once

#include <cstdint>

#include "residual_se/device/geometry.hpp"
#include "residual_se/device/samples.hpp"

namespace clinaug::se {

inline constexpr int kMostThreads = 256;  // of a block
// While one block of a multiprocessor computes its gates, the others keep memory busy.
inline constexpr int kBlocksAMultiprocessor = 3;

struct DeviceLimits {
  std::int64_t multiprocessors = 1;
  std::int64_t shared_per_block = 48 << 10;           // bytes, with opting in
  std::int64_t shared_per_multiprocessor = 48 << 10;  // bytes
  std::int64_t shared_reserved = 1 << 10;             // bytes a block that the system takes
  std::int64_t largest_cluster = 1;                   // 1: no clusters
  std::int64_t l2 = 4 << 20;                          // bytes
};

struct Problem {
  std::int64_t batch = 0, channels = 0, hidden = 0, spatial = 0;
  bool channels_last = false;
  bool vectors = true;   // all tensors lie alike modulo 16 bytes
  bool backward = false;
  int element_bytes = 4;
  int real_bytes = 4;  // of the accumulator
};

struct Plan {
  bool on_chip = false;
  Geometry geometry;
  Offsets offsets;            // on chip
  int threads = 0;            // a block
  std::int64_t shared = 0;    // bytes a block; through L2, of the sums kernel
  std::int64_t samples = 0;   // at most so many a launch
  std::int64_t scratch = 0;   // Reals that the caller provides
};

// Throws std::invalid_argument where an extent is not positive, a sample passes 2^39 elements, or channels or hidden 2^29.
Plan make_plan(const Problem& problem, const DeviceLimits& device);

}  // namespace clinaug::se
