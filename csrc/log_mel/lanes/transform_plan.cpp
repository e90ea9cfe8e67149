#include "log_mel/lanes/transform_plan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "codelet_costs.hpp"

namespace clinaug::lanes {
namespace {

constexpr double kLeafWeight = 0.86;   // the operations of a leaf wait for neither twiddles nor the pass before
constexpr double kPassOverhead = 4.0;  // loads, stores and spills of a pass, in vector operations a point
constexpr double kLastPass = 16.0;     // over the radix: the last pass waits for the second-level cache, small radices more
constexpr Index kFirstLevel = 300;     // vectors that stay in the first-level cache
constexpr double kTie = 1.005;         // the larger last radix then wins: it sums more values between two roundings

struct Steps {
  double cost = std::numeric_limits<double>::infinity();
  int leaf = 0;
  std::vector<int> radices;
  bool coprime = false;  // the last pass goes without twiddles
};

double leaf_cost(Index size) {
  for (const StepCost& leaf : kLeafCosts) {
    if (leaf.size == size) return kLeafWeight * leaf.per_point;
  }
  if (size % 2 == 1 && size <= kMaxDirectLeaf) return 2.0 + 0.6 * static_cast<double>(size);
  return std::numeric_limits<double>::infinity();
}

// The cheapest leaf and radices, these in falling order from the last pass on.
Steps choose_steps(Index size, int largest_radix, double last_pass) {
  Steps best{leaf_cost(size), static_cast<int>(size), {}};
  for (const StepCost& radix : kRadixCosts) {
    if (radix.size > largest_radix || size % radix.size != 0 || size == radix.size) continue;
    Steps rest = choose_steps(size / radix.size, radix.size, 0.0);
    rest.cost += radix.per_point + kPassOverhead + last_pass / radix.size;
    if (rest.cost > kTie * best.cost) continue;
    rest.radices.push_back(radix.size);
    best = std::move(rest);
  }
  return best;
}

Steps choose_steps(Index size, Result result) {
  const double last_pass = size > kFirstLevel ? kLastPass : 0.0;
  Steps best = choose_steps(size, std::end(kRadixCosts)[-1].size, last_pass);
  if (result == Result::spectrum || size % kCoprime != 0 || std::gcd(size / kCoprime, kCoprime) != 1 || size == kCoprime) return best;
  Steps rest = choose_steps(size / kCoprime, kCoprime, 0.0);
  rest.cost += kCoprimeCost + kPassOverhead + last_pass / kCoprime;
  if (rest.cost > kTie * best.cost) return best;
  rest.radices.push_back(kCoprime);
  rest.coprime = true;
  return rest;
}

// 1 / a modulo n, where there is such a thing, else 0.
Index inverse(Index a, Index n) {
  for (Index x = 1; x < n; ++x) {
    if (a % n * x % n == 1) return x;
  }
  return 0;
}

double turn(Index numerator, Index denominator) {
  return 2.0 * std::numbers::pi * static_cast<double>(numerator % denominator) / static_cast<double>(denominator);
}

// The twiddle cos - i sin as the pair (cos, tan); the tangent makes up for the rounding of the cosine.
template <class Real>
std::vector<Real> make_twiddles(int radix, Index length) {
  constexpr double kSmallestCosine = 1e-20;  // keeps the tangent finite
  std::vector<Real> twiddles;
  for (Index k = 1; 2 * k < length; ++k) {
    for (int j = 1; j < radix; ++j) {
      const double angle = turn(j * k, radix * length);
      double cosine = static_cast<Real>(std::cos(angle));
      if (std::abs(cosine) < kSmallestCosine) cosine = kSmallestCosine;
      twiddles.push_back(static_cast<Real>(cosine));
      twiddles.push_back(static_cast<Real>(std::sin(angle) / cosine));
    }
  }
  return twiddles;
}

template <class Real>
std::vector<Real> make_direct_leaf(int n) {
  std::vector<Real> table;
  for (int k = 1; k <= n / 2; k += 4) {
    for (int j = 1; j <= n / 2; ++j) {
      for (int i = 0; i < 4; ++i) table.push_back(static_cast<Real>(std::cos(turn(j * (k + i), n))));
      for (int i = 0; i < 4; ++i) table.push_back(static_cast<Real>(-std::sin(turn(j * (k + i), n))));
    }
  }
  return table;
}

bool has_codelet(int leaf) {
  return std::any_of(std::begin(kLeafCosts), std::end(kLeafCosts), [&](const StepCost& cost) { return cost.size == leaf; });
}

}  // namespace

double transform_cost(Index size) { return choose_steps(size, Result::spectrum).cost; }

template <class Real>
TransformPlan<Real>::TransformPlan(Index size, Result result) {
  const Steps steps = choose_steps(size, result);
  coprime_ = steps.coprime;
  tables_.size = size;
  tables_.leaf = steps.leaf;
  if (!has_codelet(steps.leaf)) {
    direct_ = make_direct_leaf<Real>(steps.leaf);
    tables_.direct = direct_.data();
  }
  Index length = steps.leaf;
  for (const int radix : steps.radices) {
    const bool twiddled = !coprime_ || radix * length < size;
    twiddles_.push_back(twiddled ? make_twiddles<Real>(radix, length) : std::vector<Real>{});
    tables_.passes[tables_.n_passes++] = {radix, length, twiddles_.back().data()};
    length *= radix;
  }
  // Each pass, from the last one back, sends sample t of its sequence to part t % radix, place t / radix; the last one, without
  // twiddles, sends t = part * length + place * radix (modulo the size) there.
  const Index m = size / kCoprime, part = inverse(m, kCoprime), within = inverse(kCoprime, m);
  order_.resize(size);
  for (Index t = 0; t < size; ++t) {
    Index place = 0, rest = t;
    for (int p = tables_.n_passes; p-- > 0;) {
      const Index radix = tables_.passes[p].radix;
      const bool last = p + 1 == tables_.n_passes;
      place = coprime_ && last ? rest * part % radix : place * radix + rest % radix;
      rest = coprime_ && last ? rest * within % m : rest / radix;
    }
    order_[place * steps.leaf + rest] = t;
  }
}

template <class Real>
std::vector<int> TransformPlan<Real>::targets(Index stride) const {
  std::vector<int> targets;
  if (!coprime_) return targets;
  const Pass<Real>& last = tables_.passes[tables_.n_passes - 1];
  const Index m = last.length, radix = last.radix, part = inverse(m, radix);
  for (Index k = 0; 2 * k <= m; ++k) {
    for (Index remainder = 0; remainder < radix; ++remainder) {
      // The bin with both remainders is k + q m; in the upper half its mirror image stands for it.
      const Index q = ((remainder - k) % radix + radix) * part % radix, bin = k + q * m;
      const Index slot = std::min(bin, tables_.size - bin);
      targets.push_back(static_cast<int>(slot / m * stride + slot % m));
    }
  }
  return targets;
}

template class TransformPlan<float>;
template class TransformPlan<double>;

}  // namespace clinaug::lanes
