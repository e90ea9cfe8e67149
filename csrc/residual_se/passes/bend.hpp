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

  // slope times value: act(z) below zero, and act'(z) times a gradient there and at zero.
  V low(V value) const { return reinterpret_cast<V>(reinterpret_cast<Bits>(value * slope_) & keep_); }

 private:
  V slope_;
  Bits keep_;
};

// grad * act'(z), with a slope of one where z is NaN, as relu of torch has it (its leaky_relu has `slope`), by what is known of
// the sign of z: nothing is asked where act is the identity,
template <class T>
struct Straight {
  using V = Vector<Accumulator<T>>;
  V at(const T* grad, Index i) const { return load(grad + i); }
  V part(const T* grad, Index i, Index n) const { return load_part(grad + i, n); }
};

// y = act(z) has it,
template <class T>
struct BentByOutput {
  using Real = Accumulator<T>;
  using V = Vector<Real>;
  Bend<Real> bend;
  const T* y;

  V at(const T* grad, Index i) const { return bent(load(grad + i), load(y + i)); }
  V part(const T* grad, Index i, Index n) const { return bent(load_part(grad + i, n), load_part(y + i, n)); }

 private:
  V bent(V grad, V y_i) const { return y_i <= Real{0} ? bend.low(grad) : grad; }
};

// or forward has kept it, a bit an element; only for rows of whole vectors.
template <class T>
struct BentBySigns {
  using V = Vector<Accumulator<T>>;
  Bend<Accumulator<T>> bend;
  const std::uint8_t* signs;

  V at(const T* grad, Index i) const {
    const V grad_i = load(grad + i);
    return by_signs(signs, i, grad_i, bend.low(grad_i));
  }
  V part(const T* grad, Index i, Index n) const { return load_part(grad + i, n); }  // there are none
};

// Calls f with one of the three.
template <class T, class F>
static inline void pick_bent(const Act<Accumulator<T>>& act, const T* y, const std::uint8_t* signs, const F& f) {
  const Bend<Accumulator<T>> bend(act);
  if (!act.bends) return f(Straight<T>{});
  if constexpr (kHasSigns<Accumulator<T>>) {
    if (signs != nullptr) return f(BentBySigns<T>{bend, signs});
  }
  f(BentByOutput<T>{bend, y});
}

}  // namespace clinaug::se::CLINAUG_LANES_SET
