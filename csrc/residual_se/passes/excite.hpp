// The passes that write: y = act(x * gate + skip), and its derivative by x and skip.
#pragma once

#include "residual_se/passes/bend.hpp"

namespace clinaug::se::CLINAUG_LANES_SET {

// One number a channel, for a whole row; or a number an element, the same for each row.
template <class Real, bool per_element>
struct Factor {
  const Real* values;
  Vector<Real> same = {};

  void enter(Index row) {
    if constexpr (!per_element) same = Vector<Real>{} + values[row];
  }
  Vector<Real> at(Index i) const {
    if constexpr (per_element) return load(values + i);
    else return same;
  }
};

// Calls whole(i) for vectors that lie in the row, and part(i, n) for a row shorter than a vector. The last vector may
// overlap the one before: it is written twice, with the same numbers.
template <class Real, class Whole, class Part>
static inline void walk_row(Index n, const Whole& whole, const Part& part) {
  constexpr Index kLanes = Lanes<Real>::n;
  if (n < kLanes) return part(Index{0}, n);
  Index i = 0;
  for (; i + kLanes <= n; i += kLanes) whole(i);
  if (i < n) whole(n - kLanes);
}

// Calls whole(i, factor) for the vectors of whole rows that are so short that the factors of some of them stay in registers;
// returns the first row that is left.
template <class Real, class Whole>
static inline Index short_rows(const Layout& layout, Rows rows, const Real* factors, const Whole& whole) {
  constexpr Index kLanes = Lanes<Real>::n, kTogether = kChains * kLanes;
  if (kTogether % layout.length != 0) return rows.begin;
  const Index at_once = kTogether / layout.length, end = rows.begin + (whole_rows(layout, rows) - rows.begin) / at_once * at_once;
  Vector<Real> kept[kChains];
  for (Index j = 0; j < kChains; ++j) kept[j] = load(factors + j * kLanes % layout.length);
  for (Index i = rows.begin * layout.length; i < end * layout.length; i += kTogether) {
    for (Index j = 0; j < kChains; ++j) whole(i + j * kLanes, kept[j]);
  }
  return end;
}

template <bool streams, class T>
static inline void put(T* to, Vector<Accumulator<T>> value) {
  if constexpr (streams) stream(to, value);
  else store(to, value);
}

template <class T, bool per_element, bool skips, bool streams, bool keeps_signs>
static void excite_rows(const Layout& layout, Rows rows, const Act<Accumulator<T>>& act, const T* x, const Accumulator<T>* gates, const T* skip, T* y,
                        std::uint8_t* signs) {
  using Real = Accumulator<T>;
  const Bend<Real> bend(act);
  Factor<Real, per_element> gate{gates};
  const auto value = [&](Vector<Real> x_i, Vector<Real> gate_i, const auto& skip_of) {
    Vector<Real> z = x_i * gate_i;
    if constexpr (skips) z += skip_of();
    return bend.forward(z);
  };
  const auto whole = [&](Index i, Vector<Real> gate_i) {
    const Vector<Real> y_i = value(load(x + i), gate_i, [&] { return load(skip + i); });
    put<streams>(y + i, y_i);
    if constexpr (keeps_signs) store_signs(signs, i, y_i);
  };
  Index row = rows.begin;
  if constexpr (per_element) row = short_rows<Real>(layout, rows, gates, whole);
  for (; row < rows.end; ++row) {
    gate.enter(row);
    const Index at = row * layout.length;
    walk_row<Real>(
        length_of(layout, row), [&](Index i) { whole(at + i, gate.at(i)); },
        [&](Index i, Index n) {
          store_part(y + at + i, value(load_part(x + at + i, n), gate.at(i), [&] { return load_part(skip + at + i, n); }), n);
        });
  }
  if constexpr (streams) finish_streams();
}

// To the second-level cache.
static inline void fetch(const void* from) { __builtin_prefetch(from, 0, 2); }

template <class T, bool per_element, bool skips, bool streams, class Bent>
static void excite_rows_backward(const Layout& layout, Rows rows, const Bent& bent, const T* grad, const Accumulator<T>* gates,
                                 const Accumulator<T>* shifts, T* grad_x, T* grad_skip, const T* next_x, const T* next_grad) {
  using Real = Accumulator<T>;
  Factor<Real, per_element> gate{gates}, shift{shifts};
  for (Index row = rows.begin; row < rows.end; ++row) {
    gate.enter(row);
    shift.enter(row);
    const Index at = row * layout.length;
    walk_row<Real>(
        length_of(layout, row),
        [&](Index i) {
          const Vector<Real> dz = bent.at(grad, at + i);
          if constexpr (streams) {
            fetch(next_x + at + i);
            fetch(next_grad + at + i);
          }
          put<streams>(grad_x + at + i, dz * gate.at(i) + shift.at(i));
          if constexpr (skips) put<streams>(grad_skip + at + i, dz);
        },
        [&](Index i, Index n) {
          const Vector<Real> dz = bent.part(grad, at + i, n);
          store_part(grad_x + at + i, dz * gate.at(i) + shift.at(i), n);
          if constexpr (skips) store_part(grad_skip + at + i, dz, n);
        });
  }
  if constexpr (streams) finish_streams();
}

// Calls f with std::true_type or std::false_type's like for each of the flags.
template <bool value>
struct Flag {
  static constexpr bool on = value;
};

template <class F>
static inline void pick(bool value, const F& f) {
  value ? f(Flag<true>{}) : f(Flag<false>{});
}

template <class T>
static void excite(const Layout& layout, Rows rows, const Act<Accumulator<T>>& act, const T* x, const Accumulator<T>* gate, const T* skip, T* y,
                   std::uint8_t* signs, bool streams) {
  pick(layout.gate_per_element, [&](auto each) {
    pick(skip != nullptr, [&](auto skips) {
      pick(streams, [&](auto past) {
        if constexpr (kHasSigns<Accumulator<T>>) {
          if (signs != nullptr) return excite_rows<T, each.on, skips.on, past.on, true>(layout, rows, act, x, gate, skip, y, signs);
        }
        excite_rows<T, each.on, skips.on, past.on, false>(layout, rows, act, x, gate, skip, y, nullptr);
      });
    });
  });
}

template <class T>
static void excite_backward(const Layout& layout, Rows rows, const Act<Accumulator<T>>& act, const T* grad, const T* y, const std::uint8_t* signs,
                            const Accumulator<T>* gate, const Accumulator<T>* shift, T* grad_x, T* grad_skip, bool streams,
                            const T* next_x, const T* next_grad) {
  pick_bent(act, y, signs, [&](auto bent) {
    pick(layout.gate_per_element, [&](auto each) {
      pick(grad_skip != nullptr, [&](auto skips) {
        pick(streams, [&](auto past) {
          excite_rows_backward<T, each.on, skips.on, past.on>(layout, rows, bent, grad, gate, shift, grad_x, grad_skip, next_x,
                                                              next_grad);
        });
      });
    });
  });
}

}  // namespace clinaug::se::CLINAUG_LANES_SET
