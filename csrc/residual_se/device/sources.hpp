// Where the number of an element of a slice comes from. A Source has
//   kLoads                                how many loads a thread has under way
//   load<N>(i)                            fetches what N elements from i need
//   terms<N>(i, fetched, Real (&)[N])     their numbers; may store on the way
#pragma once

#include "common/host_device.hpp"
#include "residual_se/device/element.hpp"

namespace clinaug::se {

// The elements themselves, from global memory; kAgain: of the first of two visits.
template <class Element, bool kAgain>
struct FromGlobal {
  using Real = Accumulator<Element>;
  static constexpr int kLoads = 4;
  const Element* slice;

  template <int kCount>
  CLINAUG_HOST_DEVICE Pack<Element, kCount> load(std::int64_t i) const {
    return read<kCount, kAgain>(slice, i);
  }

  template <int kCount>
  CLINAUG_HOST_DEVICE void terms(std::int64_t, const Pack<Element, kCount>& fetched, Real (&terms)[kCount]) const {
    widen_all(fetched, terms);
  }
};

// From shared memory, which is near: nothing is fetched ahead.
template <class Element, class Block, class Tile>
struct FromTile {
  using Real = Accumulator<Element>;
  static constexpr int kLoads = 4;
  Block& block;
  Tile slice;

  struct Nothing {};

  template <int kCount>
  CLINAUG_HOST_DEVICE Nothing load(std::int64_t) const {
    return {};
  }

  template <int kCount>
  CLINAUG_HOST_DEVICE void terms(std::int64_t i, Nothing, Real (&terms)[kCount]) const {
    widen_all(block.template load<kCount>(slice, i), terms);
  }
};

}  // namespace clinaug::se
