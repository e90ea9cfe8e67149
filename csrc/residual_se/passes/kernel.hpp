// What an instruction set brings to residual_se: the passes over a sample, and the two small layers between them.
#pragma once

#include <cstdint>

#include "common/instruction_set.hpp"
#include "common/numbers.hpp"

namespace clinaug::se {

using Index = std::int64_t;

// Vectors of numbers a channel are padded to this many with zeros, so that the layers need no remainders.
inline constexpr Index kPadding = 16;

// How a sample lies in memory: rows of `length` elements, the last maybe shorter. A row is a channel, with one gate for
// all; or, in channels_last, the pixels whose channels fill whole vectors, with a gate an element: `folds` pixels, so that
// length = folds * channels.
struct Layout {
  bool gate_per_element = false;
  Index channels = 0;
  Index length = 0;
  Index last_length = 0;
  Index rows = 0;
  Index folds = 1;
};

// act(z) = z, but the bits of (slope * z) & keep below zero: 0 for relu. None has slope 1.
template <class Real>
struct Act {
  bool bends = false;  // not the identity
  bool keeps = true;   // false for relu
  Real slope = 1;
};

// Rows [begin, end) of a sample.
struct Rows {
  Index begin = 0;
  Index end = 0;
};

// Arrays start at the sample's first element; `gate` and `shift` hold one number a channel, or Layout::length numbers.
template <class T>
struct Kernel {
  using Real = Accumulator<T>;

  // sums[channel] = sum of x over the rows' pixels. One a row in NCHW; in channels_last all channels of these rows. Scratch:
  // Layout::length numbers.
  void (*sums)(const Layout&, Rows, const T* x, Real* sums, Real* scratch);

  // The same of grad * act'(z) * x. Where z was above zero `signs` tells if not null, else y.
  void (*weighted_sums)(const Layout&, Rows, const Act<Real>&, const T* grad, const T* x, const T* y, const std::uint8_t* signs,
                        Real* sums, Real* scratch);

  // z = x * gate + skip, y = act(z); skip may be null; signs, if not null: bit i % 8 of byte i / 8 is set where y[i] is
  // above zero or NaN. `stream`: y bypasses the caches, see may_stream.
  void (*excite)(const Layout&, Rows, const Act<Real>&, const T* x, const Real* gate, const T* skip, T* y, std::uint8_t* signs, bool stream);

  // dz = grad * act'(z); grad_x = dz * gate + shift, grad_skip = dz; grad_skip may be null. Where both bypass the caches,
  // what is at next_x and next_grad is fetched meanwhile, see may_fetch.
  void (*excite_backward)(const Layout&, Rows, const Act<Real>&, const T* grad, const T* y, const std::uint8_t* signs, const Real* gate,
                          const Real* shift, T* grad_x, T* grad_skip, bool stream, const T* next_x, const T* next_grad);

  // out[k] = bias[k] + sum_c matrix[k][c] v[c], k < n; matrix (n, padded), v (padded).
  void (*dots)(Index n, Index padded, const Real* matrix, const Real* v, const Real* bias, Real* out);

  // out[k][c] = sum_b factors[k][b] matrix[b][c], k < n, b < m; matrix (m, padded).
  void (*products)(Index n, Index m, Index padded, const Real* matrix, const Real* factors, Real* out);

  // logits -> 1 / (1 + e^-logits), in place.
  void (*sigmoid)(Index padded, Real* values);

  // Bytes that an address and a row of y must be multiples of for streaming.
  Index stream_bytes;

  // Elements that a row must be a multiple of for signs; 0: this kernel has none.
  Index sign_lanes;
};

template <class T>
const Kernel<T>& kernel_of(InstructionSet set);

}  // namespace clinaug::se
