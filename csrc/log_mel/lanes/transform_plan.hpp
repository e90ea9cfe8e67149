// Chooses the steps of a real transform and makes their tables.
#pragma once

#include <deque>
#include <vector>

#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

// Vector operations a point, roughly; infinite where the size has large prime factors: use a Chirp then.
double transform_cost(Index size);

template <class Real>
class TransformPlan {
 public:
  // Of a size of finite transform_cost.
  explicit TransformPlan(Index size);

  const Transform<Real>& tables() const { return tables_; }

  // The sample that each place of the leaves takes: places [i * leaf, (i + 1) * leaf) belong to leaf i.
  const std::vector<Index>& order() const { return order_; }

 private:
  Transform<Real> tables_{};
  std::vector<Index> order_;
  std::deque<std::vector<Real>> twiddles_;
  std::vector<Real> direct_;
};

}  // namespace clinaug::lanes
