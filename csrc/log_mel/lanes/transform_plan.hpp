// Chooses the steps of a real transform and makes their tables.
#pragma once

#include <deque>
#include <vector>

#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

// Vector operations a point, roughly; infinite where the size has large prime factors: use a Chirp then.
double transform_cost(Index size);

enum class Result { spectrum, power };

template <class Real>
class TransformPlan {
 public:
  // Of a size of finite transform_cost.
  TransformPlan(Index size, Result result);

  const Transform<Real>& tables() const { return tables_; }

  // The sample that each place of the leaves takes: places [i * leaf, (i + 1) * leaf) belong to leaf i.
  const std::vector<Index>& order() const { return order_; }

  // Where a last step without twiddles puts the results of each bin 0 .. length / 2, `radix` places by their remainders, its
  // spectra lying `stride` vectors apart. Empty where the last step has twiddles.
  std::vector<int> targets(Index stride) const;

 private:
  Transform<Real> tables_{};
  bool coprime_;
  std::vector<Index> order_;
  std::deque<std::vector<Real>> twiddles_;
  std::vector<Real> direct_;
};

}  // namespace clinaug::lanes
