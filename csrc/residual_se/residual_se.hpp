// residual_se: y = act(x * gate + skip), gate = sigmoid(W2 relu(W1 mean_hw(x) + b1) + b2).
// Squeeze-and-excitation of Hu, Shen, Sun 2018 with the residual sum and the activation in the same pass.
#pragma once

#include <cstdint>

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

// All arrays are dense. x, skip (may be null), y: batch * channels * spatial; w1: (hidden, channels); b1: (hidden);
// w2: (channels, hidden); b2: (channels). A sum over pixels runs in a fixed order, so threads change nothing. y may not overlap the inputs.
template <class Real>
void residual_se(const ResidualSeParams& params, const Real* x, const Real* w1, const Real* b1, const Real* w2,
                 const Real* b2, const Real* skip, Real* y, std::int64_t threads);

}  // namespace clinaug
