// The activation and its derivative, on vectors and without branches.
#pragma once

#include "residual_se/passes/vector.hpp"

namespace clinaug::se::CLINAUG_LANES_SET {

template <class Real>
class Bend {
 public:
  using V = Vector<Real>;
  using Bits = typename Lanes<Real>::Bits;

  explicit Bend(const Act<Real>& act) : slope_(V{} + act.slope), keep_(Bits{} - (act.keeps ? 1 : 0)) {}

  // NaN stays NaN.
  V forward(V z) const { return z < Real{0} ? low(z) : z; }

  // act'(z) times grad; y = act(z) has the sign of z. At zero the slope below it counts.
  V backward(V grad, V y) const { return y > Real{0} ? grad : low(grad); }

 private:
  V low(V value) const { return reinterpret_cast<V>(reinterpret_cast<Bits>(value * slope_) & keep_); }

  V slope_;
  Bits keep_;
};

}  // namespace clinaug::se::CLINAUG_LANES_SET
