// The two small layers between squeeze and excitation, on vectors padded with zeros.
#pragma once

#include "residual_se/passes/vector.hpp"

namespace clinaug::se::CLINAUG_LANES_SET {

template <class Real>
static void dots(Index n, Index padded, const Real* matrix, const Real* v, const Real* bias, Real* out) {
  constexpr Index kLanes = Lanes<Real>::n;
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) {
    Vector<Real> sum[kLanes] = {};
    for (Index c = 0; c < padded; c += kLanes) {
      for (Index i = 0; i < kLanes; ++i) sum[i] += load(matrix + (k + i) * padded + c) * load(v + c);
    }
    store(out + k, load(bias + k) + sums_of_lanes<Real>(sum));
  }
  for (; k < n; ++k) {
    Vector<Real> sum = {};
    for (Index c = 0; c < padded; c += kLanes) sum += load(matrix + k * padded + c) * load(v + c);
    out[k] = bias[k] + sum_of_lanes<Real>(sum);
  }
}

// `together` rows of out at once, and `chains` partial sums of each, so that additions need not wait for one another.
template <int together, int chains, class Real>
static inline void products_of(Index m, Index padded, Index c, const Real* matrix, const Real* factors, Real* out) {
  Vector<Real> sum[together][chains] = {};
  Index b = 0;
  for (; b + chains <= m; b += chains) {
    for (int chain = 0; chain < chains; ++chain) {
      const Vector<Real> row = load(matrix + (b + chain) * padded + c);
      for (int k = 0; k < together; ++k) sum[k][chain] += factors[k * m + b + chain] * row;
    }
  }
  for (; b < m; ++b) {
    const Vector<Real> row = load(matrix + b * padded + c);
    for (int k = 0; k < together; ++k) sum[k][0] += factors[k * m + b] * row;
  }
  for (int k = 0; k < together; ++k) {
    for (int chain = 1; chain < chains; ++chain) sum[k][0] += sum[k][chain];
    store(out + k * padded + c, sum[k][0]);
  }
}

template <class Real>
static void products(Index n, Index m, Index padded, const Real* matrix, const Real* factors, Real* out) {
  for (Index c = 0; c < padded; c += Lanes<Real>::n) {
    Index k = 0;
    for (; k + 4 <= n; k += 4) products_of<4, 2>(m, padded, c, matrix, factors + k * m, out + k * padded);
    for (; k < n; ++k) products_of<1, 4>(m, padded, c, matrix, factors + k * m, out + k * padded);
  }
}

template <class Real>
static void sigmoid(Index padded, Real* values) {
  for (Index c = 0; c < padded; c += Lanes<Real>::n) store(values + c, Real{1} / (Real{1} + exponential(-load(values + c))));
}

}  // namespace clinaug::se::CLINAUG_LANES_SET
