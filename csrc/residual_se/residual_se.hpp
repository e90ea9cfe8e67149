// residual_se: y = act(x * gate + skip), gate = sigmoid(W2 relu(W1 mean_hw(x) + b1) + b2), and its derivatives.
// Squeeze-and-excitation of Hu, Shen, Sun 2018 with the residual sum and the activation in the same pass.
//
// A sample stays in the cache between the sums over its pixels and the pass that scales it, so that memory sees x, skip and
// y once. Sums run in an order that the shape fixes: neither threads nor the size of the batch change a bit.
#pragma once

#include <cstdint>

#include "common/instruction_set.hpp"
#include "residual_se/passes/kernel.hpp"

namespace clinaug {

enum class Activation { none, relu, leaky_relu };

struct ResidualSeParams {
  std::int64_t batch = 0;
  std::int64_t channels = 0;
  std::int64_t hidden = 0;
  std::int64_t spatial = 0;    // height * width
  bool channels_last = false;  // memory order (batch, spatial, channels) instead of (batch, channels, spatial)
  Activation activation = Activation::relu;
  double slope = 0.0;  // of leaky_relu below zero
};

// All arrays are dense. x, skip, y and their gradients: batch * channels * spatial; w1: (hidden, channels); b1: (hidden);
// w2: (channels, hidden); b2: (channels); mean, gate: (batch, channels); hidden: (batch, hidden), before its relu.
// T is float, double or Bfloat16; numbers between are Accumulator<T>: float, double, float. What is written may not overlap
// what is read.
template <class T>
struct ResidualSeForward {
  const T* x = nullptr;
  const T* w1 = nullptr;
  const T* b1 = nullptr;
  const T* w2 = nullptr;
  const T* b2 = nullptr;
  const T* skip = nullptr;  // may be null
  T* y = nullptr;
  Accumulator<T>* mean = nullptr;  // these three are all null where no gradient will be asked for
  Accumulator<T>* hidden = nullptr;
  Accumulator<T>* gate = nullptr;
  std::uint8_t* signs = nullptr;  // for backward: room for a bit an element and a byte; may be null
};

template <class T>
struct ResidualSeBackward {
  const T* grad = nullptr;  // dL/dy
  const T* x = nullptr;
  const T* y = nullptr;  // its sign tells where act bends; not read for Activation::none, nor where signs were kept
  const T* w1 = nullptr;
  const T* w2 = nullptr;
  const Accumulator<T>* mean = nullptr;
  const Accumulator<T>* hidden = nullptr;
  const Accumulator<T>* gate = nullptr;
  const std::uint8_t* signs = nullptr;  // as forward left them; may be null
  T* grad_x = nullptr;
  T* grad_w1 = nullptr;
  T* grad_b1 = nullptr;
  T* grad_w2 = nullptr;
  T* grad_b2 = nullptr;
  T* grad_skip = nullptr;  // may be null
};

template <class T>
void residual_se(const ResidualSeParams& params, const ResidualSeForward<T>& arrays, InstructionSet set, std::int64_t threads);

template <class T>
void residual_se_backward(const ResidualSeParams& params, const ResidualSeBackward<T>& arrays, InstructionSet set, std::int64_t threads);

}  // namespace clinaug
