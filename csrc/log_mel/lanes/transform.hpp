// The real transform of one group of frames: leaves, combining passes, power. Depth first, so that all but the last
// pass work in the first-level cache.
#pragma once

#include "codelet_costs.hpp"
#include "log_mel/lanes/tables.hpp"
#include "log_mel/lanes/vector.hpp"

namespace clinaug::lanes::CLINAUG_LANES_SET {

// Where sample j of a leaf of n points lies: of parts that lie in neighbouring columns, see Source::quarters, only the first one's
// offsets are read.
template <int parts>
static inline Index place(const int* offsets, int j, int n) {
  if constexpr (parts == 1) return offsets[j];
  else return offsets[j % (n / parts)] + j / (n / parts);
}

// Sample j of a leaf, see Source. Pointers one by one, as they come in registers; a struct would come in memory.
template <int parts>
struct Windowed {
  static constexpr bool kCarries = false;

  static inline V at(const Real* x, const int* offsets, const Real* weights, const int*, const Real*, int j, int n) {
    return splat(weights + j) * load(x + place<parts>(offsets, j, n));
  }
};

template <int parts>
struct Emphasised {
  static constexpr bool kCarries = true;

  static inline V at(const Real* x, const int* offsets, const Real* weights, const int* before, const Real* carried, int j, int n) {
    const V last = load(x + before[j]);
    return splat(weights + j) * (load(x + place<parts>(offsets, j, n)) - last) + splat(carried + j) * last;
  }
};

#include "codelets.hpp"

// Input of the next tile, drawn into the second-level cache while this one is computed. By few lines at a time: a core
// can wait for so many (some ten on Cascade Lake), and stands still where more are asked for at once.
class Prefetch {
 public:
  Prefetch(const char* first, Index step) : next_(first), due_(first), step_(step) {}

  inline void advance() {
    due_ += step_;
    for (; next_ < due_; next_ += 64) __builtin_prefetch(next_, 0, 2);
  }

 private:
  const char *next_, *due_;
  Index step_;
};

// A distance between spectra that a codelet was compiled for. Its addresses are constants then; to compute them takes a seventh of
// a codelet's time, in the first-level cache a fifth.
template <Index distance>
struct Known {
  constexpr operator Index() const { return distance; }
};

// run(distance), as a Known where there are codelets for it.
#define CLINAUG_KNOWN(radix, distance_there)  \
  if constexpr (r == radix) {                 \
    constexpr Known<distance_there> known{};  \
    if (distance == known) return run(known); \
  }

template <int r, class Run>
static inline void of_known_combine(Index distance, const Run& run) {
#define CLINAUG_CASE(radix, points) CLINAUG_KNOWN(radix, points)
  CLINAUG_KNOWN_COMBINES(CLINAUG_CASE)
#undef CLINAUG_CASE
  run(distance);
}

#define CLINAUG_CASE(radix, points) CLINAUG_KNOWN(radix, apart(points, radix))

template <int r, class Run>
static inline void of_known_final(Index distance, const Run& run) {
  CLINAUG_KNOWN_FINALS(CLINAUG_CASE)
  run(distance);
}

template <int r, class Run>
static inline void of_known_coprime(Index distance, const Run& run) {
  CLINAUG_KNOWN_COPRIMES(CLINAUG_CASE)
  run(distance);
}

#undef CLINAUG_CASE
#undef CLINAUG_KNOWN

template <int r>
static void combine_pass(V* block, const Pass& pass) {
  const Index m = pass.length;
  Combine<r>::zero(block, m);
  of_known_combine<r>(m, [&](auto distance) {
    const Real* w = pass.twiddles;
    for (Index k = 1; 2 * k < m; ++k, w += 2 * (r - 1)) Combine<r>::inner(block + k, block + m - k, distance, w);
  });
  if (m % 2 == 0) Combine<r>::middle(block + m / 2, m);
}

template <int r>
static void final_pass(V* blocks, Index stride, const Pass& pass, Prefetch& prefetch) {
  const Index m = pass.length;
  Final<r>::zero(blocks, stride);
  of_known_final<r>(stride, [&](auto distance) {
    const Real* w = pass.twiddles;
    for (Index k = 1; 2 * k < m; ++k, w += 2 * (r - 1)) {
      Final<r>::inner(blocks + k, blocks + m - k, distance, w);
      prefetch.advance();
    }
  });
  if (m % 2 == 0) Final<r>::middle(blocks + m / 2, stride);
}

// The last pass without twiddles.
template <int r>
static void coprime_pass(V* blocks, Index stride, Index m, const int* targets, Prefetch& prefetch) {
  Coprime<r>::zero(blocks, stride, blocks, targets);
  of_known_coprime<r>(stride, [&](auto distance) {
    const int* to = targets;
    for (Index k = 1; 2 * k < m; ++k) {
      Coprime<r>::inner(blocks + k, blocks + m - k, distance, blocks, to += r);
      prefetch.advance();
    }
  });
}

static inline void combine(V* block, const Pass& pass) {
  switch (pass.radix) {
#define CLINAUG_CASE(r) \
  case r: return combine_pass<r>(block, pass);
    CLINAUG_RADICES(CLINAUG_CASE)
#undef CLINAUG_CASE
  }
}

static inline void finish(V* blocks, Index stride, const Pass& pass, const int* targets, Prefetch& prefetch) {
  if (targets) return coprime_pass<kCoprime>(blocks, stride, pass.length, targets, prefetch);
  switch (pass.radix) {
#define CLINAUG_CASE(r) \
  case r: return final_pass<r>(blocks, stride, pass, prefetch);
    CLINAUG_RADICES(CLINAUG_CASE)
#undef CLINAUG_CASE
  }
}

// An odd n by the definition, from sums and differences of the samples j and n - j; four bins at a time.
// table: for each four bins, for each j <= n / 2, their cosines and then their negated sines.
template <class Samples>
static void direct_leaf(int n, const Real* x, const int* offsets, const Real* weights, const int* before, const Real* carried,
                        const Real* table, V* out) {
  const auto sample = [=](int j) { return Samples::at(x, offsets, weights, before, carried, j, n); };
  const int half = n / 2;
  V sums[kMaxDirectLeaf / 2], differences[kMaxDirectLeaf / 2];
  const V first = sample(0);
  V total = first;
  for (int j = 1; j <= half; ++j) {
    const V a = sample(j), b = sample(n - j);
    sums[j - 1] = a + b;
    differences[j - 1] = a - b;
    total += a + b;
  }
  out[0] = total;
  for (int k = 1; k <= half; k += 4) {
    V re[4] = {first, first, first, first}, im[4] = {};
    for (int j = 0; j < half; ++j, table += 8) {
      for (int i = 0; i < 4; ++i) {
        re[i] += table[i] * sums[j];
        im[i] += table[4 + i] * differences[j];
      }
    }
    for (int i = 0; i < 4 && k + i <= half; ++i) {
      out[k + i] = re[i];
      out[n - k - i] = im[i];
    }
  }
}

inline constexpr int kQuartered = 16;  // points of a leaf that is worth a codelet of its own for quarters

template <int n, template <int> class Samples>
static inline void run_leaf(bool quarters, const Real* x, const int* offsets, const Real* weights, const int* before, const Real* carried,
                            V* out) {
  if constexpr (n % 4 == 0 && n >= kQuartered) {
    if (quarters) return Leaf<n>::template run<Samples<4>>(x, offsets, weights, before, carried, out);
  }
  Leaf<n>::template run<Samples<1>>(x, offsets, weights, before, carried, out);
}

template <template <int> class Samples>
static inline void leaf(const Transform& transform, const Source& source, const Real* x, Index index, V* out) {
  const Index first = index * transform.leaf;
  const int *const offsets = source.offsets + first, *const before = Samples<1>::kCarries ? source.before + first : nullptr;
  const Real *const weights = source.weights + first, *const carried = Samples<1>::kCarries ? source.carried + first : nullptr;
  if (transform.direct) return direct_leaf<Samples<1>>(transform.leaf, x, offsets, weights, before, carried, transform.direct, out);
  switch (transform.leaf) {
#define CLINAUG_CASE(n) \
  case n: return run_leaf<n, Samples>(source.quarters, x, offsets, weights, before, carried, out);
    CLINAUG_LEAVES(CLINAUG_CASE)
#undef CLINAUG_CASE
  }
}

static inline void leaf(const Transform& transform, const Source& source, const Real* x, Index index, V* out) {
  if constexpr (kSingle) {
    if (source.before) return leaf<Emphasised>(transform, source, x, index, out);
  }
  leaf<Windowed>(transform, source, x, index, out);
}

static void combined(const Transform& transform, const Source& source, const Real* x, int passes, Index index, V* out);

// The halfcomplex spectrum after the first `passes` passes, of the sub-sequence that starts at leaf `index`.
static inline void spectrum(const Transform& transform, const Source& source, const Real* x, int passes, Index index, V* out) {
  if (passes == 0) return leaf(transform, source, x, index, out);
  combined(transform, source, x, passes, index, out);
}

// The same, of one pass at least.
static void combined(const Transform& transform, const Source& source, const Real* x, int passes, Index index, V* out) {
  const Pass& pass = transform.passes[passes - 1];
  for (int j = 0; j < pass.radix; ++j) {
    spectrum(transform, source, x, passes - 1, index * pass.radix + j, out + j * pass.length);
  }
  combine(out, pass);
}

// |X|^2 of the group whose first column is at x, in place: bin k comes to lie in its slot, see Tables.
static void power_spectrum(const Tables& tables, const Real* x, V* work, Prefetch& prefetch) {
  const Transform& transform = tables.transform;
  if (transform.n_passes == 0) {
    leaf(transform, tables.source, x, 0, work);
    prefetch.advance();
    const Index n = transform.size;
    work[0] *= work[0];
    for (Index k = 1; 2 * k < n; ++k) work[k] = work[k] * work[k] + work[n - k] * work[n - k];
    if (n % 2 == 0) work[n / 2] *= work[n / 2];
    return;
  }
  const Pass& last = transform.passes[transform.n_passes - 1];
  for (int j = 0; j < last.radix; ++j) {
    spectrum(transform, tables.source, x, transform.n_passes - 1, j, work + j * tables.block_stride);
    prefetch.advance();
  }
  finish(work, tables.block_stride, last, tables.targets, prefetch);
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
