// Chooses the steps of a real transform and makes their tables.
#pragma once

#include <deque>
#include <vector>

#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

class TransformPlan {
 public:
  // size must be computable(): use a Chirp otherwise.
  explicit TransformPlan(Index size);

  const Transform& tables() const { return tables_; }

  // The sample that each place of the leaves takes: places [i * leaf, (i + 1) * leaf) belong to leaf i.
  const std::vector<Index>& order() const { return order_; }

  // Vector operations a point, roughly; infinite where the size has large prime factors.
  static double cost(Index size);

 private:
  Transform tables_{};
  std::vector<Index> order_;
  std::deque<std::vector<float>> twiddles_;
  std::vector<float> direct_;
};

}  // namespace clinaug::lanes
