// The backward kernel's phases. With z what act takes and "." what the forward kernel left:
//   dz = act'(z) grad_y, grad_skip = dz, grad_logit = sum_hw(dz x) gate (1 - gate), grad_hidden = (W2' grad_logit) (hidden > 0),
//   grad_x = dz gate + shift, shift = W1' grad_hidden / spatial
// grad_y, x and y are read once: on chip, dz waits in shared memory, rounded to the tensor's type as grad_skip is. W2' is applied
// to what each slice has of grad_logit, so that blocks of a cluster exchange `hidden` numbers. The gradients of the weights
// are sums over samples of outer products of grad_logit and grad_hidden: see weight_grads.hpp.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/host_device.hpp"
#include "residual_se/device/channel_sums.hpp"
#include "residual_se/device/samples.hpp"
#include "residual_se/device/sources.hpp"

namespace clinaug::se {

// Addresses. hidden: (B, hidden), gate: (B, C), grad_logit: (B, C), grad_hidden: (B, hidden).
template <class Element>
struct Backward {
  using Real = Accumulator<Element>;
  const Element* grad_y = nullptr;
  const Element* x = nullptr;
  const Element* y = nullptr;  // null where there is no activation
  Element* grad_x = nullptr;
  Element* grad_skip = nullptr;  // or null
  const Element *w1 = nullptr, *w2 = nullptr;
  const Real *hidden = nullptr, *gate = nullptr;
  Real *grad_logit = nullptr, *grad_hidden = nullptr;
  Real *parts = nullptr, *shift = nullptr;  // (B, C) shift and parts where samples do not stay on chip
  Bend<Real> bend{};

  // The same for sample b on, but for `parts` and `shift`.
  CLINAUG_HOST_DEVICE Backward from(const Geometry& g, std::int64_t b) const {
    Backward here = *this;
    here.grad_y += b * g.sample;
    here.x += b * g.sample;
    here.y = on(y, b * g.sample);
    here.grad_x += b * g.sample;
    here.grad_skip = on(grad_skip, b * g.sample);
    here.hidden += b * g.hidden;
    here.gate += b * g.channels;
    here.grad_logit += b * g.channels;
    here.grad_hidden += b * g.hidden;
    return here;
  }

  // For sample b of a launch that begins with sample `first`, whose parts and shifts come one sample after the other.
  CLINAUG_HOST_DEVICE Backward streamed(const Geometry& g, std::int64_t first, std::int64_t b) const {
    Backward here = from(g, first + b);
    here.parts += b * g.slices * g.width;
    here.shift += b * g.channels;
    return here;
  }
};

namespace detail {

// dz, from global memory; kAgain: of the first of two visits.
template <class Element, bool kAgain>
struct Slopes {
  using Real = Accumulator<Element>;
  static constexpr int kLoads = 2;  // of two vectors each
  const Element *grad_y, *y;
  Bend<Real> bend;

  template <int kCount>
  struct Fetched {
    Pack<Element, kCount> grad_y, y;
  };

  template <int kCount>
  CLINAUG_HOST_DEVICE Fetched<kCount> load(std::int64_t i) const {
    // Without an activation, the slope is 1 whatever y is.
    return {read<kCount, kAgain>(grad_y, i), read<kCount, kAgain>(y, i, y != nullptr)};
  }

  template <int kCount>
  CLINAUG_HOST_DEVICE void terms(std::int64_t, const Fetched<kCount>& fetched, Real (&terms)[kCount]) const {
    widen_all(fetched.grad_y, terms);
    Real signs[kCount];
    widen_all(fetched.y, signs);
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) terms[k] = bend.gradient(signs[k], terms[k]);
  }
};

struct NoTile {};

// dz x; leaves dz in grad_skip and in the tile, where there are such.
template <class Element, class Block, class Tile>
struct Products {
  using Real = Accumulator<Element>;
  using SlopesHere = Slopes<Element, std::is_same_v<Tile, NoTile>>;  // without a tile, dz is computed again
  static constexpr int kLoads = 2;                                   // of three vectors each
  Block& block;
  SlopesHere slopes;
  const Element* x;
  Element* grad_skip;
  Tile tile;

  template <int kCount>
  struct Fetched {
    typename SlopesHere::template Fetched<kCount> slopes;
    Pack<Element, kCount> x;
  };

  template <int kCount>
  CLINAUG_HOST_DEVICE Fetched<kCount> load(std::int64_t i) {
    return {slopes.template load<kCount>(i), read<kCount>(x, i)};
  }

  template <int kCount>
  CLINAUG_HOST_DEVICE void terms(std::int64_t i, const Fetched<kCount>& fetched, Real (&terms)[kCount]) {
    slopes.template terms<kCount>(i, fetched.slopes, terms);
    Pack<Element, kCount> rounded;
    Real factors[kCount];
    widen_all(fetched.x, factors);
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) {
      rounded.at[k] = narrow<Element>(terms[k]);
      terms[k] *= factors[k];
    }
    if constexpr (!std::is_same_v<Tile, NoTile>) block.template store<kCount>(tile, i, rounded);
    if (grad_skip != nullptr) write<kCount>(grad_skip, i, rounded);
  }
};

template <class Element, class Source, class Gates, class Shifts>
struct Spread {
  using Real = Accumulator<Element>;
  Source dz;
  Element* grad_x;
  Gates gates;
  Shifts shifts;

  CLINAUG_HOST_DEVICE void enter(int c) {
    gates.enter(c);
    shifts.enter(c);
  }

  template <int kCount>
  CLINAUG_HOST_DEVICE auto load(std::int64_t i) {
    return dz.template load<kCount>(i);
  }

  template <int kCount, class Fetched>
  CLINAUG_HOST_DEVICE void use(std::int64_t i, const Fetched& fetched) {
    Real grad[kCount];
    dz.template terms<kCount>(i, fetched, grad);
    Pack<Element, kCount> out;
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) out.at[k] = narrow<Element>(grad[k] * gates.at(i, k) + shifts.at(i, k));
    write<kCount>(grad_x, i, out);
  }
};

}  // namespace detail

// grad_x of a slice. gates, shifts: of the channels that it touches.
template <class Element, class Block, class Source, class Gates, class Shifts>
CLINAUG_HOST_DEVICE void spread_gradient(Block& block, const Geometry& g, const Slice& slice, Source dz, Element* grad_x,
                                         Gates gates, Shifts shifts) {
  constexpr int kV = kVector<Element>;
  visit<kV, Source::kLoads>(block, g, slice, [&]<Reach kReach>() {
    using Gate = PerChannel<kReach, Accumulator<Element>, kV, Gates>;
    using Shift = PerChannel<kReach, Accumulator<Element>, kV, Shifts>;
    return detail::Spread<Element, Source, Gate, Shift>{dz, grad_x, Gate{g, gates}, Shift{g, shifts}};
  });
}

// ---- on chip: of one sample, `to` begins with it; the cluster's barrier stands between the two -----------------------------

// dz of a slice into shared memory, its channels' part of grad_logit, and W2' times it.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void backward_squeeze(Block& block, const Geometry& g, const Offsets& at, const Backward<Element>& to,
                                          int rank) {
  using Real = Accumulator<Element>;
  const Slice slice(g, rank, in_elements(to.x), kVector<Element>);
  const auto tile = block.template array<Element>(at.tile) + slice.phase;
  const auto sums = block.template array<Real>(at.sums), exchange = block.template array<Real>(at.exchange);
  const auto gate = block.template array<Real>(at.gate), parts = block.template array<Real>(at.parts);
  const std::int64_t b = slice.begin;
  block.prefetch(to.gate + slice.channel, slice.channels);  // what stands between the sums and grad_x waits for nothing far away
  block.prefetch(to.hidden, g.hidden);
  detail::Products<Element, Block, decltype(tile + 0)> source{
      block, {to.grad_y + b, on(to.y, b), to.bend}, to.x + b, on(to.grad_skip, b), tile};
  sum_channels<Real, kVector<Element>>(block, g, slice, source, parts, [&](int c, Real sum) {
    const Real value = to.gate[slice.channel + c];
    gate[c] = value;
    sums[c] = sum * value * (Real{1} - value);
  });
  block.sync();
  const Element* const w2 = to.w2 + std::int64_t{slice.channel} * g.hidden;
  reduce_columns<Real>(
      block, g.hidden, slice.channels, parts,
      [&](int c, int j) { return entry<Real>(w2, c, g.hidden, j) * sums[c]; },
      [&](int j, Real part) { exchange[j] = part; });
}

// grad_hidden of all slices' parts, what the mean gives back to each of its pixels, grad_x.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void backward_spread(Block& block, const Geometry& g, const Offsets& at, const Backward<Element>& to,
                                         int rank) {
  using Real = Accumulator<Element>;
  const Slice slice(g, rank, in_elements(to.x), kVector<Element>);
  const auto sums = block.template array<Real>(at.sums), exchange = block.template array<Real>(at.exchange);
  const auto hidden = block.template array<Real>(at.hidden), shift = block.template array<Real>(at.shift);
  block.each([&](int thread) {
    for (int j = thread; j < g.hidden; j += block.threads) {
      Real sum{0};
      for (int r = 0; r < g.slices; ++r) sum += block.peer(exchange, r)[j];
      const Real grad = to.hidden[j] <= Real{0} ? Real{0} : sum;
      hidden[j] = grad;
      if (rank == 0) to.grad_hidden[j] = grad;
    }
    for (int c = thread; c < slice.channels; c += block.threads) {
      if (!slice.owns(g, c)) continue;
      to.grad_logit[slice.channel + c] = over_slices<Real>(
          g, slice.channel + c, [&](int s, int place) -> Real { return block.peer(sums, s)[place]; });
    }
  });
  block.sync();
  block.release_peers();
  const Element* const w1 = to.w1 + slice.channel;
  reduce_columns<Real>(
      block, slice.channels, g.hidden, block.template array<Real>(at.parts),
      [&](int j, int c) { return entry<Real>(w1, j, g.channels, c) * hidden[j]; },
      [&](int c, Real sum) { shift[c] = sum / static_cast<Real>(g.spatial); });
  block.sync();
  const auto tile = block.template array<Element>(at.tile) + slice.phase;
  const FromTile<Element, Block, decltype(tile + 0)> dz{block, tile};
  const auto gate = block.template array<Real>(at.gate);
  spread_gradient(block, g, slice, dz, to.grad_x + slice.begin, gate, shift);
  block.await_peers();
}

// ---- through L2: three launches -----------------------------------------------------------------------------------------------

// A block a slice. to.parts: (slices, width) of this sample.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void backward_sums(Block& block, const Geometry& g, const Backward<Element>& to, int index) {
  using Real = Accumulator<Element>;
  const Slice slice(g, index, in_elements(to.x), kVector<Element>);
  const std::int64_t b = slice.begin;
  detail::Products<Element, Block, detail::NoTile> source{
      block, {to.grad_y + b, on(to.y, b), to.bend}, to.x + b, on(to.grad_skip, b), {}};
  sum_channels<Real, kVector<Element>>(block, g, slice, source, block.template array<Real>(0),
                                       [&](int c, Real sum) { to.parts[std::int64_t{index} * g.width + c] = sum; });
}

// A block a sample; to.shift: (C) of it.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void backward_gates(Block& block, const Geometry& g, const Backward<Element>& to) {
  using Real = Accumulator<Element>;
  const auto parts = block.template array<Real>(0);
  sum_parts<Real>(block, g, to.parts, [&](int c, Real sum) {
    const Real gate = to.gate[c];
    to.grad_logit[c] = sum * gate * (Real{1} - gate);
  });
  block.sync();
  reduce_columns<Real>(
      block, g.hidden, g.channels, parts,
      [&](int c, int j) {
        return entry<Real>(to.w2, c, g.hidden, j) * to.grad_logit[c];
      },
      [&](int j, Real sum) { to.grad_hidden[j] = to.hidden[j] <= Real{0} ? Real{0} : sum; });
  block.sync();
  reduce_columns<Real>(
      block, g.channels, g.hidden, parts,
      [&](int j, int c) {
        return entry<Real>(to.w1, j, g.channels, c) * to.grad_hidden[j];
      },
      [&](int c, Real sum) { to.shift[c] = sum / static_cast<Real>(g.spatial); });
}

// A block a slice.
template <class Element, class Block>
CLINAUG_HOST_DEVICE void backward_apply(Block& block, const Geometry& g, const Backward<Element>& to, int index) {
  const Slice slice(g, index, in_elements(to.x), kVector<Element>);
  const std::int64_t b = slice.begin;
  const detail::Slopes<Element, false> dz{to.grad_y + b, on(to.y, b), to.bend};
  spread_gradient(block, g, slice, dz, to.grad_x + b, to.gate + slice.channel, to.shift + slice.channel);
}

}  // namespace clinaug::se
