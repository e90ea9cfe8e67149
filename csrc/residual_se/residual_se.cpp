#include "residual_se/residual_se.hpp"

#include <algorithm>
#include <vector>

#include "residual_se/walk.hpp"
#include "residual_se/weights.hpp"

namespace clinaug {

using namespace se;

namespace {

constexpr Index kSummedSamples = 256;   // in one chain of additions
constexpr Index kKeptBytes = 16 << 20;  // of a thread's working memory from call to call

// The bits of sample b, where there are any.
template <class Byte>
Byte* of_sample(Byte* signs, Index b, Index sample) {
  return signs == nullptr ? nullptr : signs + b * sample / 8;
}

}  // namespace

template <class T>
void residual_se(const ResidualSeParams& params, const ResidualSeForward<T>& arrays, InstructionSet set, std::int64_t threads) {
  using Real = Accumulator<T>;
  using State = SampleState<Real>;
  const Kernel<T>& kernel = kernel_of<T>(set);
  const Layout layout = make_layout(params, kernel.stream_bytes / static_cast<Index>(sizeof(T)));
  const Slabs slabs(layout);
  const auto act = make_act<Real>(params);
  const bool stream = may_stream(params, layout, kernel, arrays.y, arrays.gate == nullptr ? kStreamBytes : kStreamBytesOfRead);
  const KeptSigns kept = kept_signs(params, layout, kernel);
  if (arrays.signs != nullptr) arrays.signs[sign_bytes(params)] = static_cast<std::uint8_t>(kept);
  std::uint8_t* const signs = kept == KeptSigns::none ? nullptr : arrays.signs;
  const Index channels = params.channels, hidden = params.hidden, sample = channels * params.spatial;

  thread_local std::vector<Real> w1_room, w2_room, b1_room, b2_room;
  const Real* const w1 = pad_rows(hidden, channels, arrays.w1, w1_room);
  const Real* const w2 = pad_rows(channels, hidden, arrays.w2, w2_room);
  const Real* const b1 = pad_rows(1, hidden, arrays.b1, b1_room);
  const Real* const b2 = pad_rows(1, channels, arrays.b2, b2_room);

  const auto squeeze = [&](Index b, Index slab, State& state) {
    kernel.sums(layout, slabs[slab], arrays.x + b * sample, state.partial_of(layout, slab), row_scratch<Real>(layout));
  };
  const auto gate = [&](Index b, State& state) {
    state.total(layout, slabs.count(), Real{1} / static_cast<Real>(params.spatial), state.mean);
    kernel.dots(hidden, padded(channels), w1, state.mean.data(), b1, state.hidden.data());
    if (arrays.gate != nullptr) {
      std::copy_n(state.mean.begin(), channels, arrays.mean + b * channels);
      std::copy_n(state.hidden.begin(), hidden, arrays.hidden + b * hidden);
    }
    for (Real& value : state.hidden) value = value < Real{0} ? Real{0} : value;
    kernel.dots(channels, padded(hidden), w2, state.hidden.data(), b2, state.gate.data());
    kernel.sigmoid(padded(channels), state.gate.data());
    if (arrays.gate != nullptr) std::copy_n(state.gate.begin(), channels, arrays.gate + b * channels);
    repeat(layout, state.gate, state.gate_row);
  };
  const auto excite = [&](Index b, Index slab, State& state, Index) {
    const Real* gates = layout.gate_per_element ? state.gate_row.data() : state.gate.data();
    const T* skip = arrays.skip == nullptr ? nullptr : arrays.skip + b * sample;
    kernel.excite(layout, slabs[slab], act, arrays.x + b * sample, gates, skip, arrays.y + b * sample,
                  of_sample(signs, b, sample), stream);
  };
  walk<Real>(params, layout, slabs, threads, squeeze, gate, excite);
}

template <class T>
void residual_se_backward(const ResidualSeParams& params, const ResidualSeBackward<T>& arrays, InstructionSet set, std::int64_t threads) {
  using Real = Accumulator<T>;
  using State = SampleState<Real>;
  const Kernel<T>& kernel = kernel_of<T>(set);
  const Layout layout = make_layout(params, kernel.stream_bytes / static_cast<Index>(sizeof(T)));
  const Slabs slabs(layout);
  const auto act = make_act<Real>(params);
  const bool stream = may_stream(params, layout, kernel, arrays.grad_x, kStreamBytes) &&
                      (arrays.grad_skip == nullptr || may_stream(params, layout, kernel, arrays.grad_skip, kStreamBytes));
  const KeptSigns kept = kept_signs(params, layout, kernel);
  const bool have_signs = kept != KeptSigns::none && arrays.signs != nullptr && arrays.signs[sign_bytes(params)] == static_cast<std::uint8_t>(kept);
  const std::uint8_t* const signs = have_signs ? arrays.signs : nullptr;
  const Index batch = params.batch, channels = params.channels, hidden = params.hidden, width = padded(channels);
  const Index sample = channels * params.spatial;

  thread_local std::vector<Real> w1_room, w2_room, grad_logits, grad_hiddens, exciteds;
  const Real* const w1 = pad_rows(hidden, channels, arrays.w1, w1_room);
  const Real* const w2 = pad_rows(channels, hidden, arrays.w2, w2_room);
  grad_logits.resize(batch * width);
  grad_hiddens.resize(hidden * batch);
  exciteds.resize(hidden * batch);
  // Of each sample: dL/dlogit (batch, width), of which nobody reads what follows the channels; dL/dhidden and relu(hidden), (hidden, batch).
  Real *const grad_logit = grad_logits.data(), *const grad_hidden = grad_hiddens.data(), *const excited = exciteds.data();

  const auto squeeze = [&](Index b, Index slab, State& state) {
    kernel.weighted_sums(layout, slabs[slab], act, arrays.grad + b * sample, arrays.x + b * sample, arrays.y + b * sample,
                         of_sample(signs, b, sample), state.partial_of(layout, slab), row_scratch<Real>(layout));
  };
  const auto gate = [&](Index b, State& state) {
    state.total(layout, slabs.count(), Real{1}, state.mean);  // dL/dgate
    Real* const logits = grad_logit + b * width;
    for (Index c = 0; c < channels; ++c) {
      const Real g = arrays.gate[b * channels + c];
      state.gate[c] = g;
      logits[c] = state.mean[c] * g * (Real{1} - g);
    }
    kernel.products(1, channels, padded(hidden), w2, logits, state.hidden.data());
    for (Index k = 0; k < hidden; ++k) {
      const Real before = arrays.hidden[b * hidden + k];
      state.hidden[k] = before <= Real{0} ? Real{0} : state.hidden[k];
      grad_hidden[k * batch + b] = state.hidden[k];
      excited[k * batch + b] = before < Real{0} ? Real{0} : before;
    }
    kernel.products(1, hidden, width, w1, state.hidden.data(), state.shift.data());
    for (Real& value : state.shift) value /= static_cast<Real>(params.spatial);
    repeat(layout, state.gate, state.gate_row);
    repeat(layout, state.shift, state.shift_row);
  };
  const bool fetches = may_fetch<T>(layout, slabs);
  const auto excite = [&](Index b, Index slab, State& state, Index next) {
    const Real* gates = layout.gate_per_element ? state.gate_row.data() : state.gate.data();
    const Real* shifts = layout.gate_per_element ? state.shift_row.data() : state.shift.data();
    T* const grad_skip = arrays.grad_skip == nullptr ? nullptr : arrays.grad_skip + b * sample;
    const T* const grad = arrays.grad + b * sample;
    // What is being read anyway, where nothing else is to be fetched.
    const bool ahead = fetches && next != b;
    const T *const next_x = ahead ? arrays.x + next * sample : grad, *const next_grad = ahead ? arrays.grad + next * sample : grad;
    kernel.excite_backward(layout, slabs[slab], act, grad, arrays.y + b * sample, of_sample(signs, b, sample), gates, shifts,
                           arrays.grad_x + b * sample, grad_skip, stream, next_x, next_grad);
  };
  walk<Real>(params, layout, slabs, threads, squeeze, gate, excite);

  // The weights': sums over samples in their order.
  thread_local std::vector<Real> mean_room, grad_rows, ones;
  const Real* const means = pad_rows(batch, channels, arrays.mean, mean_room);
  grad_rows.resize(hidden * width);
  ones.assign(std::min(batch, kSummedSamples), Real{1});
  kernel.products(hidden, batch, width, means, grad_hidden, grad_rows.data());
  unpad_rows(hidden, channels, grad_rows.data(), arrays.grad_w1);
  kernel.products(hidden, batch, width, grad_logit, excited, grad_rows.data());
  unpad_transposed(hidden, channels, grad_rows.data(), arrays.grad_w2);
  // One chain over a large batch would lose digits.
  thread_local std::vector<double> sums;
  sums.assign(channels, 0.0);
  for (Index from = 0; from < batch; from += kSummedSamples) {
    const Index n = std::min(kSummedSamples, batch - from);
    kernel.products(1, n, width, grad_logit + from * width, ones.data(), grad_rows.data());
    for (Index c = 0; c < channels; ++c) sums[c] += grad_rows[c];
  }
  for (Index c = 0; c < channels; ++c) arrays.grad_b2[c] = narrow<T>(static_cast<Real>(sums[c]));
  for (Index k = 0; k < hidden; ++k) {
    double sum = 0;
    for (Index b = 0; b < batch; ++b) sum += grad_hidden[k * batch + b];
    arrays.grad_b1[k] = narrow<T>(static_cast<Real>(sum));
  }
  for (auto* room : {&grad_logits, &grad_hiddens, &exciteds, &mean_room}) {
    if (room->size() * sizeof(Real) > kKeptBytes) std::vector<Real>().swap(*room);
  }
}

#define CLINAUG_RESIDUAL_SE_OF(T)                                                                                           \
  template void residual_se(const ResidualSeParams&, const ResidualSeForward<T>&, InstructionSet, std::int64_t);            \
  template void residual_se_backward(const ResidualSeParams&, const ResidualSeBackward<T>&, InstructionSet, std::int64_t)
CLINAUG_RESIDUAL_SE_OF(float);
CLINAUG_RESIDUAL_SE_OF(double);
CLINAUG_RESIDUAL_SE_OF(Bfloat16);
#undef CLINAUG_RESIDUAL_SE_OF

}  // namespace clinaug
