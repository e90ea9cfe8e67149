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
template <class Element, class Weight>
struct Backward {
  using Real = Accumulator<Element>;
  const Element* grad_y = nullptr;
  const Element* x = nullptr;
  const Element* y = nullptr;  // null where there is no activation
  Element* grad_x = nullptr;
  Element* grad_skip = nullptr;  // or null
  const Weight *w1 = nullptr, *w2 = nullptr;
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
  CLINAUG_HOST_DEVICE Fetched<kCount> load(int i) const {
    Fetched<kCount> fetched{read<kCount, kAgain>(grad_y, i), {}};
    if (y != nullptr) fetched.y = read<kCount, kAgain>(y, i);
    return fetched;
  }

  template <int kCount>
  CLINAUG_HOST_DEVICE void terms(int, const Fetched<kCount>& fetched, Real (&terms)[kCount]) const {
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) {
      const Real grad = widen(fetched.grad_y.at[k]);
      terms[k] = y != nullptr ? bend.gradient(widen(fetched.y.at[k]), grad) : grad;
    }
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
  CLINAUG_HOST_DEVICE Fetched<kCount> load(int i) {
    return {slopes.template load<kCount>(i), read<kCount>(x, i)};
  }

  template <int kCount>
  CLINAUG_HOST_DEVICE void terms(int i, const Fetched<kCount>& fetched, Real (&terms)[kCount]) {
    slopes.template terms<kCount>(i, fetched.slopes, terms);
    Pack<Element, kCount> rounded;
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) {
      rounded.at[k] = narrow<Element>(terms[k]);
      terms[k] *= widen(fetched.x.at[k]);
    }
    if constexpr (!std::is_same_v<Tile, NoTile>) block.template store<kCount>(tile, i, rounded);
    if (grad_skip != nullptr) write<kCount>(grad_skip, i, rounded);
  }
};

template <class Element, class Source, class Gates, class Shifts>
struct Spread {
  using Real = Accumulator<Element>;
  const Geometry& g;
  const Slice& slice;
  Source dz;
  Element* grad_x;
  Gates gates;
  Shifts shifts;

  template <int kCount>
  CLINAUG_HOST_DEVICE auto load(int i) {
    return dz.template load<kCount>(i);
  }

  template <int kCount, class Fetched>
  CLINAUG_HOST_DEVICE void use(int i, const Fetched& fetched) {
    Real grad[kCount], gate[kCount], shift[kCount];
    dz.template terms<kCount>(i, fetched, grad);
    spread<kCount>(g, slice, gates, i, gate);
    spread<kCount>(g, slice, shifts, i, shift);
    Pack<Element, kCount> out;
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) out.at[k] = narrow<Element>(grad[k] * gate[k] + shift[k]);
    write<kCount>(grad_x, i, out);
  }
};

}  // namespace detail

// grad_x of a slice. gates, shifts: of the channels that it touches.
template <class Element, class Block, class Source, class Gates, class Shifts>
CLINAUG_HOST_DEVICE void spread_gradient(Block& block, const Geometry& g, const Slice& slice, Source dz, Element* grad_x,
                                         Gates gates, Shifts shifts) {
  block.each([&](int thread) {
    detail::Spread<Element, Source, Gates, Shifts> step{g, slice, dz, grad_x, gates, shifts};
    walk<kVector<Element>, Source::kLoads>(0, slice.length, slice.phase, g.vectors, thread, block.threads, step);
  });
}

// ---- on chip: of one sample, `to` begins with it; the cluster's barrier stands between the two -----------------------------

// dz of a slice into shared memory, its channels' part of grad_logit, and W2' times it.
template <class Element, class Weight, class Block>
CLINAUG_HOST_DEVICE void backward_squeeze(Block& block, const Geometry& g, const Offsets& at, const Backward<Element, Weight>& to,
                                          std::int64_t rank) {
  using Real = Accumulator<Element>;
  const Slice slice(g, rank, in_elements(to.x + rank * g.slice), kVector<Element>);
  const auto tile = block.template array<Element>(at.tile) + slice.phase;
  const auto sums = block.template array<Real>(at.sums), exchange = block.template array<Real>(at.exchange);
  const auto gate = block.template array<Real>(at.gate), parts = block.template array<Real>(at.parts);
  const std::int64_t b = slice.begin;
  detail::Products<Element, Block, decltype(tile + 0)> source{
      block, {to.grad_y + b, on(to.y, b), to.bend}, to.x + b, on(to.grad_skip, b), tile};
  sum_channels<Real, kVector<Element>>(block, g, slice, source, parts, [&](int c, Real sum) {
    const Real value = to.gate[slice.channel + c];
    gate[c] = value;
    sums[c] = sum * value * (Real{1} - value);
  });
  block.sync();
  reduce_columns<Real>(
      block, g.hidden, slice.channels, parts,
      [&](std::int64_t c, std::int64_t j) {
        return static_cast<Real>(widen(to.w2[(slice.channel + c) * g.hidden + j])) * sums[c];
      },
      [&](std::int64_t j, Real part) { exchange[j] = part; });
}

// grad_hidden of all slices' parts, what the mean gives back to each of its pixels, grad_x.
template <class Element, class Weight, class Block>
CLINAUG_HOST_DEVICE void backward_spread(Block& block, const Geometry& g, const Offsets& at, const Backward<Element, Weight>& to,
                                         std::int64_t rank) {
  using Real = Accumulator<Element>;
  const Slice slice(g, rank, in_elements(to.x + rank * g.slice), kVector<Element>);
  const auto sums = block.template array<Real>(at.sums), exchange = block.template array<Real>(at.exchange);
  const auto hidden = block.template array<Real>(at.hidden), shift = block.template array<Real>(at.shift);
  block.each([&](int thread) {
    for (std::int64_t j = thread; j < g.hidden; j += block.threads) {
      Real sum{0};
      for (std::int64_t r = 0; r < g.slices; ++r) sum += block.peer(exchange, r)[j];
      const Real grad = to.hidden[j] > Real{0} ? sum : Real{0};
      hidden[j] = grad;
      if (rank == 0) to.grad_hidden[j] = grad;
    }
    for (int c = thread; c < slice.channels; c += block.threads) {
      if (!slice.owns(g, c)) continue;
      to.grad_logit[slice.channel + c] = over_slices<Real>(
          g, slice.channel + c, [&](std::int64_t s, std::int64_t place) -> Real { return block.peer(sums, s)[place]; });
    }
  });
  block.release_peers();
  block.sync();
  reduce_columns<Real>(
      block, slice.channels, g.hidden, block.template array<Real>(at.parts),
      [&](std::int64_t j, std::int64_t c) {
        return static_cast<Real>(widen(to.w1[j * g.channels + slice.channel + c])) * hidden[j];
      },
      [&](std::int64_t c, Real sum) { shift[c] = sum / static_cast<Real>(g.spatial); });
  block.sync();
  const auto tile = block.template array<Element>(at.tile) + slice.phase;
  const FromTile<Element, Block, decltype(tile + 0)> dz{block, tile};
  const auto gate = block.template array<Real>(at.gate);
  spread_gradient<Element>(block, g, slice, dz, to.grad_x + slice.begin, gate, shift);
  block.await_peers();
}

// ---- through L2: three launches -----------------------------------------------------------------------------------------------

// A block a slice. to.parts: (slices, width) of this sample.
template <class Element, class Weight, class Block>
CLINAUG_HOST_DEVICE void backward_sums(Block& block, const Geometry& g, const Backward<Element, Weight>& to, std::int64_t index) {
  using Real = Accumulator<Element>;
  const Slice slice(g, index, in_elements(to.x + index * g.slice), kVector<Element>);
  const std::int64_t b = slice.begin;
  detail::Products<Element, Block, detail::NoTile> source{
      block, {to.grad_y + b, on(to.y, b), to.bend}, to.x + b, on(to.grad_skip, b), {}};
  sum_channels<Real, kVector<Element>>(block, g, slice, source, block.template array<Real>(0),
                                       [&](int c, Real sum) { to.parts[index * g.width + c] = sum; });
}

// A block a sample; to.shift: (C) of it.
template <class Element, class Weight, class Block>
CLINAUG_HOST_DEVICE void backward_gates(Block& block, const Geometry& g, const Backward<Element, Weight>& to) {
  using Real = Accumulator<Element>;
  const auto parts = block.template array<Real>(0);
  sum_parts<Real>(block, g, to.parts, [&](std::int64_t c, Real sum) {
    const Real gate = to.gate[c];
    to.grad_logit[c] = sum * gate * (Real{1} - gate);
  });
  block.sync();
  reduce_columns<Real>(
      block, g.hidden, g.channels, parts,
      [&](std::int64_t c, std::int64_t j) { return static_cast<Real>(widen(to.w2[c * g.hidden + j])) * to.grad_logit[c]; },
      [&](std::int64_t j, Real sum) { to.grad_hidden[j] = to.hidden[j] > Real{0} ? sum : Real{0}; });
  block.sync();
  reduce_columns<Real>(
      block, g.channels, g.hidden, parts,
      [&](std::int64_t j, std::int64_t c) { return static_cast<Real>(widen(to.w1[j * g.channels + c])) * to.grad_hidden[j]; },
      [&](std::int64_t c, Real sum) { to.shift[c] = sum / static_cast<Real>(g.spatial); });
}

// A block a slice.
template <class Element, class Weight, class Block>
CLINAUG_HOST_DEVICE void backward_apply(Block& block, const Geometry& g, const Backward<Element, Weight>& to, std::int64_t index) {
  const Slice slice(g, index, in_elements(to.x + index * g.slice), kVector<Element>);
  const std::int64_t b = slice.begin;
  const detail::Slopes<Element, false> dz{to.grad_y + b, on(to.y, b), to.bend};
  spread_gradient<Element>(block, g, slice, dz, to.grad_x + b, to.gate + slice.channel, to.shift + slice.channel);
}

}  // namespace clinaug::se
