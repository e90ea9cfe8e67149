// Sums over the pixels of each channel. The order of the additions depends on the shape alone.
#pragma once

#include "residual_se/passes/bend.hpp"

namespace clinaug::se::CLINAUG_LANES_SET {

constexpr Index kRunVectors = 512;  // added in four chains; clips of 64 x 64 have no more

// Terms: what is summed. at(i) is a vector of them, part(i, n) its first n < lanes, the others zero.
template <class T>
struct Plain {
  const T* x;
  Vector<Accumulator<T>> at(Index i) const { return load(x + i); }
  Vector<Accumulator<T>> part(Index i, Index n) const { return load_part(x + i, n); }
};

// grad * act'(z) * x.
template <class T, class Bent>
struct Weighted {
  Bent bent;
  const T* grad;
  const T* x;
  Vector<Accumulator<T>> at(Index i) const { return bent.at(grad, i) * load(x + i); }
  Vector<Accumulator<T>> part(Index i, Index n) const { return bent.part(grad, i, n) * load_part(x + i, n); }
};

// A vector whose lanes add up to the sum of a row that is not long.
template <class Real, class Terms>
static inline Vector<Real> fold_run(const Terms& terms, Index from, Index n) {
  constexpr Index kLanes = Lanes<Real>::n;
  Vector<Real> a = {}, b = {}, c = {}, d = {};
  Index i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a += terms.at(from + i);
    b += terms.at(from + i + kLanes);
    c += terms.at(from + i + 2 * kLanes);
    d += terms.at(from + i + 3 * kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) a += terms.at(from + i);
  if (i < n) {
    // The last vector overlaps the one before, so as not to read past the row; what was counted is left out.
    b += n >= kLanes ? from_lane<Real>(terms.at(from + n - kLanes), kLanes - (n - i)) : terms.part(from + i, n - i);
  }
  return (a + b) + (c + d);
}

// The same by halves: one chain of additions loses a digit with each tenfold length, and stops growing at 2^24 terms.
template <class Real, class Terms>
static Vector<Real> fold_halves(const Terms& terms, Index from, Index n) {
  if (n <= kRunVectors * Lanes<Real>::n) return fold_run<Real>(terms, from, n);
  constexpr Index kStep = 4 * Lanes<Real>::n;
  const Index half = (n / 2 + kStep - 1) / kStep * kStep;
  return fold_halves<Real>(terms, from, half) + fold_halves<Real>(terms, from + half, n - half);
}

// A vector whose lanes add up to the sum of a row.
template <class Real, class Terms>
static inline Vector<Real> fold_row(const Terms& terms, Index from, Index n) {
  return n <= kRunVectors * Lanes<Real>::n ? fold_run<Real>(terms, from, n) : fold_halves<Real>(terms, from, n);
}

// Adds a row to totals, element by element.
template <class Real, class Terms>
static inline void add_row(const Terms& terms, Index from, Index n, Real* totals) {
  constexpr Index kLanes = Lanes<Real>::n;
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) store(totals + i, load(totals + i) + terms.at(from + i));
  if (i < n) {
    const Vector<Real> rest = terms.part(from + i, n - i);
    for (Index j = 0; i + j < n; ++j) totals[i + j] += rest[j];
  }
}

// As add_row, four whole rows at once.
template <class Real, class Terms>
static inline void add_four_rows(const Terms& terms, Index from, Index n, Real* totals) {
  for (Index i = 0; i < n; i += Lanes<Real>::n) {
    const Vector<Real> ab = terms.at(from + i) + terms.at(from + n + i);
    const Vector<Real> cd = terms.at(from + 2 * n + i) + terms.at(from + 3 * n + i);
    store(totals + i, load(totals + i) + (ab + cd));
  }
}

// As add_row, all of n elements that are whole rows, `length` apart, and of kChains vectors; for rows so short that a total
// would be loaded soon after it was stored, which takes its time.
template <class Real, class Terms>
static inline void add_short_rows(const Terms& terms, Index from, Index n, Index length, Real* totals) {
  constexpr Index kLanes = Lanes<Real>::n;
  Vector<Real> chains[kChains] = {};
  for (Index i = 0; i < n; i += kChains * kLanes) {
    for (Index j = 0; j < kChains; ++j) chains[j] += terms.at(from + i + j * kLanes);
  }
  for (Index j = 0; j < kChains; ++j) {
    Real* const total = totals + j * kLanes % length;
    store(total, load(total) + chains[j]);
  }
}

template <class Real, class Terms>
static void sum_rows(const Layout& layout, Rows rows, const Terms& terms, Real* sums, Real* totals) {
  if (!layout.gate_per_element) {
    constexpr Index kLanes = Lanes<Real>::n;
    Index row = rows.begin;
    for (; row + kLanes <= rows.end; row += kLanes) {
      Vector<Real> folded[kLanes];
      for (Index i = 0; i < kLanes; ++i) folded[i] = fold_row<Real>(terms, (row + i) * layout.length, layout.length);
      store(sums + row, sums_of_lanes<Real>(folded));
    }
    for (; row < rows.end; ++row) sums[row] = sum_of_lanes<Real>(fold_row<Real>(terms, row * layout.length, layout.length));
    return;
  }
  for (Index i = 0; i < layout.length; ++i) totals[i] = 0;
  Index row = rows.begin;
  const Index whole = whole_rows(layout, rows);
  if (kChains * Lanes<Real>::n % layout.length == 0) {
    const Index at_once = kChains * Lanes<Real>::n / layout.length, n = (whole - row) / at_once * at_once;
    add_short_rows<Real>(terms, row * layout.length, n * layout.length, layout.length, totals);
    row += n;
  }
  for (; row + 4 <= whole; row += 4) add_four_rows<Real>(terms, row * layout.length, layout.length, totals);
  for (; row < rows.end; ++row) add_row<Real>(terms, row * layout.length, length_of(layout, row), totals);
  for (Index c = 0; c < layout.channels; ++c) {
    Real sum = 0;
    for (Index fold = 0; fold < layout.folds; ++fold) sum += totals[fold * layout.channels + c];
    sums[c] = sum;
  }
}

template <class T>
static void sums(const Layout& layout, Rows rows, const T* x, Accumulator<T>* out, Accumulator<T>* scratch) {
  sum_rows<Accumulator<T>>(layout, rows, Plain<T>{x}, out, scratch);
}

template <class T>
static void weighted_sums(const Layout& layout, Rows rows, const Act<Accumulator<T>>& act, const T* grad, const T* x, const T* y,
                          const std::uint8_t* signs, Accumulator<T>* out, Accumulator<T>* scratch) {
  pick_bent(act, y, signs, [&](auto bent) { sum_rows<Accumulator<T>>(layout, rows, Weighted<T, decltype(bent)>{bent, grad, x}, out, scratch); });
}

}  // namespace clinaug::se::CLINAUG_LANES_SET
