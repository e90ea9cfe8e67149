// From a call's addresses to what the kernels take; used by the launches and by the tests that run phases on the CPU.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "residual_se/device/backward.hpp"
#include "residual_se/device/forward.hpp"
#include "residual_se/device/plan.hpp"
#include "residual_se/device/weight_grads.hpp"
#include "residual_se/residual_se_cuda.hpp"

namespace clinaug::se {

// f.operator()<Element>() for the call's type.
template <class F>
void with_type(const CudaCall& call, const F& f) {
  switch (call.element) {
    case DType::float32: return f.template operator()<float>();
    case DType::float64: return f.template operator()<double>();
    case DType::bfloat16: return f.template operator()<Bfloat16>();
    case DType::float16: return f.template operator()<Half>();
  }
}

inline Problem problem_of(const CudaCall& call, bool backward) {
  Problem problem;
  problem.batch = call.batch, problem.channels = call.channels, problem.hidden = call.hidden, problem.spatial = call.spatial;
  problem.channels_last = call.channels_last, problem.backward = backward;
  with_type(call, [&problem]<class Element>() {
    problem.element_bytes = sizeof(Element);
    problem.real_bytes = sizeof(Accumulator<Element>);
  });
  return problem;
}

// Whether 16 bytes may be moved at once: all addresses are the same modulo 16, and whole elements.
template <class Element>
bool lie_alike(std::initializer_list<const void*> addresses) {
  const auto first = reinterpret_cast<std::uintptr_t>(*addresses.begin());
  if (first % sizeof(Element) != 0) return false;
  for (const void* address : addresses) {
    if (address != nullptr && (reinterpret_cast<std::uintptr_t>(address) - first) % 16 != 0) return false;
  }
  return true;
}

template <class Element>
Forward<Element> forward_of(const CudaCall& call, const ForwardAddresses& at) {
  using Real = Accumulator<Element>;
  Forward<Element> to;
  to.x = static_cast<const Element*>(at.x), to.skip = static_cast<const Element*>(at.skip), to.y = static_cast<Element*>(at.y);
  to.w1 = static_cast<const Element*>(at.w1), to.b1 = static_cast<const Element*>(at.b1);
  to.w2 = static_cast<const Element*>(at.w2), to.b2 = static_cast<const Element*>(at.b2);
  to.mean = static_cast<Real*>(at.mean), to.hidden = static_cast<Real*>(at.hidden), to.gate = static_cast<Real*>(at.gate);
  to.parts = static_cast<Real*>(at.scratch);
  to.bend = {call.relu, static_cast<Real>(call.slope)};
  return to;
}

template <class Element>
Backward<Element> backward_of(const CudaCall& call, const BackwardAddresses& at, const Plan& plan) {
  using Real = Accumulator<Element>;
  Backward<Element> to;
  to.grad_y = static_cast<const Element*>(at.grad_y);
  to.x = static_cast<const Element*>(at.x), to.y = static_cast<const Element*>(at.y);
  to.grad_x = static_cast<Element*>(at.grad_x), to.grad_skip = static_cast<Element*>(at.grad_skip);
  to.w1 = static_cast<const Element*>(at.w1), to.w2 = static_cast<const Element*>(at.w2);
  to.hidden = static_cast<const Real*>(at.hidden), to.gate = static_cast<const Real*>(at.gate);
  to.grad_logit = static_cast<Real*>(at.grad_logit), to.grad_hidden = static_cast<Real*>(at.grad_hidden);
  if (!plan.on_chip) {
    const std::int64_t samples = plan.samples < call.batch ? plan.samples : call.batch;
    to.parts = static_cast<Real*>(at.scratch);
    to.shift = to.parts + samples * plan.geometry.slices * plan.geometry.width;
  }
  to.bend = {call.relu, static_cast<Real>(call.slope)};
  return to;
}

template <class Element>
WeightGrads<Element> weight_grads_of(const CudaCall& call, const BackwardAddresses& at) {
  using Real = Accumulator<Element>;
  WeightGrads<Element> to;
  to.batch = call.batch, to.channels = call.channels, to.hidden_units = call.hidden;
  to.mean = static_cast<const Real*>(at.mean), to.hidden = static_cast<const Real*>(at.hidden);
  to.grad_logit = static_cast<const Real*>(at.grad_logit), to.grad_hidden = static_cast<const Real*>(at.grad_hidden);
  to.grad_w1 = static_cast<Element*>(at.grad_w1), to.grad_b1 = static_cast<Element*>(at.grad_b1);
  to.grad_w2 = static_cast<Element*>(at.grad_w2), to.grad_b2 = static_cast<Element*>(at.grad_b2);
  return to;
}

}  // namespace clinaug::se
