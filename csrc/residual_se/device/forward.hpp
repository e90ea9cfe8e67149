// The forward kernel's phases: y = act(x * gate + skip), gate = sigmoid(W2 relu(W1 mean + b1) + b2).
//
// On chip, a block keeps its slice of x in shared memory; the slices of a sample are the blocks of a cluster. W1 is applied to
// what each slice has of the means, so that blocks exchange `hidden` numbers each and nothing more. A sample that does
// not fit goes in three launches over slices of global memory, few enough samples at a time that the second visit finds x in L2.
#pragma once

#include <cstdint>
#include <utility>

#include "common/host_device.hpp"
#include "residual_se/device/channel_sums.hpp"
#include "residual_se/device/samples.hpp"
#include "residual_se/device/sources.hpp"

namespace clinaug::se {

// Addresses. mean, gate: (B, C) and hidden: (B, hidden), before its relu, are left for the backward kernel.
template <class Element>
struct Forward {
  using Real = Accumulator<Element>;
  const Element* x = nullptr;
  const Element* skip = nullptr;  // or null
  Element* y = nullptr;
  const Element *w1 = nullptr, *b1 = nullptr, *w2 = nullptr, *b2 = nullptr;
  Real *mean = nullptr, *hidden = nullptr, *gate = nullptr;
  Real* parts = nullptr;  // what each slice has of its channels' sums, where samples do not stay on chip
  Bend<Real> bend{};

  // The same for sample b on, but for `parts`.
  CLINAUG_HOST_DEVICE Forward from(const Geometry& g, std::int64_t b) const {
    Forward here = *this;
    here.x += b * g.sample;
    here.skip = on(skip, b * g.sample);
    here.y += b * g.sample;
    here.mean += b * g.channels;
    here.hidden += b * g.hidden;
    here.gate += b * g.channels;
    return here;
  }

  // For sample b of a launch that begins with sample `first`, whose parts come one sample after the other.
  CLINAUG_HOST_DEVICE Forward streamed(const Geometry& g, std::int64_t first, std::int64_t b) const {
    Forward here = from(g, first + b);
    here.parts += b * g.slices * g.width;
    return here;
  }
};

namespace detail {

template <bool kRelu, class Element, class Source, class Gates>
struct Excite {
  using Real = Accumulator<Element>;
  Source x;
  const Element* skip;
  Element* y;
  Gates gates;
  Bend<Real> bend;

  template <int kCount>
  struct Fetched {
    decltype(std::declval<const Source&>().template load<kCount>(0)) x;
    Pack<Element, kCount> skip;
  };

  CLINAUG_HOST_DEVICE void enter(int c) { gates.enter(c); }

  template <int kCount>
  CLINAUG_HOST_DEVICE Fetched<kCount> load(std::int64_t i) {
    return {x.template load<kCount>(i), read<kCount>(skip, i, skip != nullptr)};
  }

  template <int kCount>
  CLINAUG_HOST_DEVICE void use(std::int64_t i, const Fetched<kCount>& fetched) {
    Real z[kCount], added[kCount];
    x.template terms<kCount>(i, fetched.x, z);
    widen_all(fetched.skip, added);
    Pack<Element, kCount> out;
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) {
      out.at[k] = narrow<Element>(bend.template apply<kRelu>(z[k] * gates.at(i, k) + added[k]));
    }
    write<kCount>(y, i, out);
  }
};

template <bool kRelu, class Element, class Block, class Source, class Gates, class Bending>
CLINAUG_HOST_DEVICE void excite_with(Block& block, const Geometry& g, const Slice& slice, Source x, const Element* skip,
                                     Element* y, Gates gates, Bending bend) {
  constexpr int kV = kVector<Element>;
  visit<kV, Source::kLoads>(block, g, slice, [&]<Reach kReach>() {
    using Near = PerChannel<kReach, Accumulator<Element>, kV, Gates>;
    return Excite<kRelu, Element, Source, Near>{x, skip, y, Near{g, gates}, bend};
  });
}

}  // namespace detail

// y of a slice. gates: of the channels that it touches.
template <class Element, class Block, class Source, class Gates, class Bending>
CLINAUG_HOST_DEVICE void excite(Block& block, const Geometry& g, const Slice& slice, Source x, const Element* skip, Element* y,
                                Gates gates, Bending bend) {
  if (bend.relu) {
    detail::excite_with<true>(block, g, slice, x, skip, y, gates, bend);
  } else {
    detail::excite_with<false>(block, g, slice, x, skip, y, gates, bend);
  }
}

// ---- on chip: of one sample, `to` begins with it; the cluster's barrier stands between the two -----------------------------

// A slice of x into shared memory, its channels' sums over `spatial`, and W1 times them.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void forward_squeeze(Block& block, const Geometry& g, const Offsets& at, const Forward<Element>& to,
                                         int rank) {
  using Real = Accumulator<Element>;
  constexpr int kV = kVector<Element>;
  const Slice slice(g, rank, in_elements(to.x), kV);
  const auto tile = block.template array<Element>(at.tile) + slice.phase;
  const auto sums = block.template array<Real>(at.sums), exchange = block.template array<Real>(at.exchange);
  block.template copy_in<kV>(tile, to.x + slice.begin, slice.length, slice.phase, g.vectors, at.arrival);
  block.await_copy(at.arrival);
  if (to.skip != nullptr) block.prefetch(to.skip + slice.begin, slice.length);  // memory would rest while gates are computed
  FromTile<Element, Block, decltype(tile + 0)> source{block, tile};
  sum_channels<Real, kV>(block, g, slice, source, block.template array<Real>(at.parts),
                         [&](int c, Real sum) { sums[c] = sum / static_cast<Real>(g.spatial); });
  block.sync();
  const Element* const w1 = to.w1 + slice.channel;
  reduce<Real>(
      block, g.hidden, g.unit_team, [&](int) { return slice.channels; },
      [&](int j, int c) { return entry<Real>(w1, j, g.channels, c) * sums[c]; },
      [&](int j, Real part) { exchange[j] = part; });
}

// The hidden layer of all slices' parts, the gates of the channels at hand, y.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void forward_excite(Block& block, const Geometry& g, const Offsets& at, const Forward<Element>& to,
                                        int rank) {
  using Real = Accumulator<Element>;
  constexpr int kV = kVector<Element>;
  const Slice slice(g, rank, in_elements(to.x), kV);
  const auto sums = block.template array<Real>(at.sums), exchange = block.template array<Real>(at.exchange);
  const auto hidden = block.template array<Real>(at.hidden), gate = block.template array<Real>(at.gate);
  block.each([&](int thread) {
    for (int j = thread; j < g.hidden; j += block.threads) {
      Real sum = widen(to.b1[j]);
      for (int r = 0; r < g.slices; ++r) sum += block.peer(exchange, r)[j];
      hidden[j] = sum < Real{0} ? Real{0} : sum;
      if (rank == 0) to.hidden[j] = sum;
    }
    for (int c = thread; c < slice.channels; c += block.threads) {
      if (!slice.owns(g, c)) continue;
      to.mean[slice.channel + c] = over_slices<Real>(
          g, slice.channel + c, [&](int s, int place) -> Real { return block.peer(sums, s)[place]; });
    }
  });
  block.sync();
  block.release_peers();
  const Element* const w2 = to.w2 + std::int64_t{slice.channel} * g.hidden;
  reduce<Real>(
      block, slice.channels, g.gate_team, [&](int) { return g.hidden; },
      [&](int c, int j) { return entry<Real>(w2, c, g.hidden, j) * hidden[j]; },
      [&](int c, Real logit) {
        const Real value = sigmoid(logit + static_cast<Real>(widen(to.b2[slice.channel + c])));
        gate[c] = value;
        if (slice.owns(g, c)) to.gate[slice.channel + c] = value;
      });
  block.sync();
  const auto tile = block.template array<Element>(at.tile) + slice.phase;
  const FromTile<Element, Block, decltype(tile + 0)> x{block, tile};
  excite(block, g, slice, x, on(to.skip, slice.begin), to.y + slice.begin, gate, to.bend);
  block.await_peers();
}

// ---- through L2: three launches -----------------------------------------------------------------------------------------------

// A block a slice. to.parts: (slices, width) of this sample.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void forward_sums(Block& block, const Geometry& g, const Forward<Element>& to, int index) {
  using Real = Accumulator<Element>;
  const Slice slice(g, index, in_elements(to.x), kVector<Element>);
  FromGlobal<Element, true> source{to.x + slice.begin};
  sum_channels<Real, kVector<Element>>(block, g, slice, source, block.template array<Real>(0),
                                       [&](int c, Real sum) { to.parts[std::int64_t{index} * g.width + c] = sum; });
}

// A block a sample: its means, hidden layer and gates, by way of global memory.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void forward_gates(Block& block, const Geometry& g, const Forward<Element>& to) {
  using Real = Accumulator<Element>;
  sum_parts<Real>(block, g, to.parts, [&](int c, Real sum) { to.mean[c] = sum / static_cast<Real>(g.spatial); });
  block.sync();
  reduce<Real>(
      block, g.hidden, g.unit_team, [&](int) { return g.channels; },
      [&](int j, int c) { return entry<Real>(to.w1, j, g.channels, c) * to.mean[c]; },
      [&](int j, Real sum) { to.hidden[j] = sum + static_cast<Real>(widen(to.b1[j])); });
  block.sync();
  reduce<Real>(
      block, g.channels, g.gate_team, [&](int) { return g.hidden; },
      [&](int c, int j) {
        const Real unit = to.hidden[j];
        return entry<Real>(to.w2, c, g.hidden, j) * (unit < Real{0} ? Real{0} : unit);
      },
      [&](int c, Real logit) { to.gate[c] = sigmoid(logit + static_cast<Real>(widen(to.b2[c]))); });
}

// A block a slice.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void forward_apply(Block& block, const Geometry& g, const Forward<Element>& to, int index) {
  const Slice slice(g, index, in_elements(to.x), kVector<Element>);
  excite(block, g, slice, FromGlobal<Element, false>{to.x + slice.begin}, on(to.skip, slice.begin), to.y + slice.begin,
         to.gate + slice.channel, to.bend);
}

}  // namespace clinaug::se
