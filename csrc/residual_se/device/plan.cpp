#include "residual_se/device/plan.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "residual_se/device/channel_sums.hpp"

namespace clinaug::se {
namespace {

// The last blocks have memory to themselves and cannot use it, so there are many small ones where there is work for all. Forward
// so many of half the threads are at once on a multiprocessor if that is all of them; more would be in each other's way in L2,
// where the skip of each waits for its gates.
constexpr std::int64_t kSmallSlice = 32 << 10;
constexpr std::int64_t kSmallBlocks = 6;
// Cutting a sample further, so that every multiprocessor has work, pays down to slices of so many bytes.
constexpr std::int64_t kLeastSlice = 8 << 10;
// Through L2: a block's slice at most, so many blocks a multiprocessor if slices do not become too small, and how many slices a
// sample has at most, because one block adds up what they found.
constexpr std::int64_t kStreamedSlice = 64 << 10;
constexpr std::int64_t kStreamedBlocks = 8;
constexpr std::int64_t kMostSlices = 1024;
constexpr std::int64_t kMostBlocks = 1 << 30;  // a launch

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return divide_up(a, b) * b; }

std::int64_t vector_of(const Problem& p) { return 16 / p.element_bytes; }

int threads_for(const Problem& p, std::int64_t slice_bytes, std::int64_t blocks_a_multiprocessor) {
  if (slice_bytes <= 2 << 10) return 64;
  if (slice_bytes <= 8 << 10) return kMostThreads / 2;
  const bool many = blocks_a_multiprocessor >= kBlocksAMultiprocessor, all_at_once = blocks_a_multiprocessor < kSmallBlocks;
  return slice_bytes <= kSmallSlice && many && (p.backward || all_at_once) ? kMostThreads / 2 : kMostThreads;
}

// The sample in about `slices` slices.
Geometry cut(const Problem& p, std::int64_t slices, int threads) {
  Geometry g;
  g.spatial = p.spatial;
  g.channels = static_cast<int>(p.channels), g.hidden = static_cast<int>(p.hidden);
  g.sample = p.channels * p.spatial;
  g.channels_last = p.channels_last, g.vectors = p.vectors;
  const std::int64_t vector = vector_of(p);
  const std::int64_t slice =
      p.channels_last ? divide_up(p.spatial, slices) * p.channels : round_up(divide_up(g.sample, slices), vector);
  g.slice = static_cast<int>(slice);
  g.slices = static_cast<int>(divide_up(g.sample, slice));
  const bool aligned = slice % p.spatial == 0 || p.spatial % slice == 0;  // slices begin and end with channels, or lie in one
  const std::int64_t touched = aligned ? divide_up(slice, p.spatial) : divide_up(slice - 1, p.spatial) + 1;
  g.width = static_cast<int>(p.channels_last ? p.channels : std::min(p.channels, touched));
  const std::int64_t row = p.channels_last ? p.channels : p.spatial;
  g.by_row = Divider(row), g.by_slice = Divider(slice);
  g.row = static_cast<int>(std::min(row, slice));
  g.whole_rows = p.vectors && row % vector == 0;
  g.unit_team = team_for(threads, p.hidden, g.width);
  g.gate_team = team_for(threads, g.width, p.hidden);
  if (p.channels_last) return g;
  // A team of 8 lanes reads 128 neighbouring bytes. Rows longer than what keeps all teams busy are cut in chunks.
  const std::int64_t row_vectors = p.vectors ? divide_up(g.row, vector) : g.row;
  const int most = p.vectors ? 8 : 32;
  while (g.team.lanes() < most && g.team.lanes() < row_vectors) ++g.team.log;
  g.chunks = static_cast<int>(
      std::clamp<std::int64_t>(g.team.of(threads) / g.width, 1, divide_up(row_vectors, g.team.lanes())));
  g.by_chunks = Divider(g.chunks);
  g.chunk = static_cast<int>(round_up(divide_up(g.row, g.chunks), vector));
  return g;
}

Offsets lay_out(const Problem& p, const Geometry& g, int threads) {
  Offsets at;
  const auto place = [&at](std::int64_t bytes) {
    const std::int64_t begin = at.bytes;
    at.bytes = round_up(begin + bytes, 16);
    return begin;
  };
  at.arrival = place(sizeof(std::uint64_t));
  at.tile = place((std::min<std::int64_t>(g.slice, g.sample) + vector_of(p)) * p.element_bytes);
  at.parts = place(parts_size(g, threads, static_cast<int>(vector_of(p))) * p.real_bytes);
  at.sums = place(std::int64_t{g.width} * p.real_bytes);
  at.exchange = place(std::int64_t{g.hidden} * p.real_bytes);
  at.hidden = place(std::int64_t{g.hidden} * p.real_bytes);
  at.gate = place(std::int64_t{g.width} * p.real_bytes);
  at.shift = p.backward ? place(std::int64_t{g.width} * p.real_bytes) : at.gate;
  return at;
}

Plan on_chip(const Problem& p, std::int64_t slices, int threads) {
  Plan plan;
  plan.on_chip = true;
  plan.threads = threads;
  plan.geometry = cut(p, slices, threads);
  plan.offsets = lay_out(p, plan.geometry, plan.threads);
  plan.shared = plan.offsets.bytes;
  plan.samples = kMostBlocks / slices;
  return plan;
}

Plan through_l2(const Problem& p, const DeviceLimits& device) {
  Plan plan;
  const std::int64_t sample = p.channels * p.spatial, bytes = sample * p.element_bytes;
  // The second visit reads x, or grad_y and y, while as much is written: a half of L2 leaves room for that.
  const std::int64_t fit = std::clamp<std::int64_t>(device.l2 / 2 / (bytes * (p.backward ? 3 : 1)), 1, p.batch);
  const std::int64_t busy = std::min(divide_up(kStreamedBlocks * device.multiprocessors, fit), bytes / kLeastSlice);
  const std::int64_t slices = std::clamp<std::int64_t>(std::max(divide_up(bytes, kStreamedSlice), busy), 1, kMostSlices);
  plan.threads = kMostThreads;
  plan.geometry = cut(p, slices, plan.threads);
  plan.shared = parts_size(plan.geometry, plan.threads, static_cast<int>(vector_of(p))) * p.real_bytes;
  plan.samples = std::min(fit, kMostBlocks / plan.geometry.slices);
  plan.scratch = plan.samples * (std::int64_t{plan.geometry.slices} * plan.geometry.width + (p.backward ? p.channels : 0));
  return plan;
}

}  // namespace

Plan make_plan(const Problem& p, const DeviceLimits& device) {
  if (p.batch < 1 || p.channels < 1 || p.hidden < 1 || p.spatial < 1) {
    throw std::invalid_argument(
        "residual_se: batch, channels, hidden or height * width is not positive; give every extent at least 1");
  }
  constexpr std::int64_t kMostSlice = std::int64_t{1} << 29;  // slices are indexed by int, and rounded up to whole rows
  if (p.channels > kMostSlice || p.hidden > kMostSlice || p.channels * p.spatial >= kMostSlice * kMostSlices) {
    throw std::invalid_argument("residual_se: a sample of " + std::to_string(p.channels) + " x " + std::to_string(p.spatial) +
                                " elements is too large for the CUDA kernel. Split it");
  }
  // The smallest cluster that gives every multiprocessor as many blocks as it has room for, or the largest that fits. Backward
  // has nothing in L2 to wait for: it had rather have no cluster, and a large block.
  Plan best;
  for (std::int64_t slices = 1; slices <= device.largest_cluster; slices *= 2) {
    if (p.channels * p.spatial > kMostSlice) break;
    const std::int64_t bytes = divide_up(p.channels * p.spatial, slices) * p.element_bytes;
    const Plan plan = on_chip(p, slices, threads_for(p, bytes, p.batch * slices / device.multiprocessors));
    if (plan.geometry.slices != slices) continue;  // too small to be cut so often
    if (plan.shared > device.shared_per_block) continue;
    best = plan;
    const bool busy = p.batch * slices >= device.multiprocessors || bytes < 2 * kLeastSlice;
    const bool roomy = kBlocksAMultiprocessor * (plan.shared + device.shared_reserved) <= device.shared_per_multiprocessor;
    const bool alone = p.backward && slices == 1;
    if (busy && (alone || (roomy && bytes <= kSmallSlice))) break;
  }
  return best.on_chip ? best : through_l2(p, device);
}

}  // namespace clinaug::se
