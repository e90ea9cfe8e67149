// residual_se on CUDA, forward and backward: y = act(x * gate + skip), gate = sigmoid(W2 relu(W1 mean_hw(x) + b1) + b2).
//
// x, skip, y and their gradients are dense (batch, channels, spatial), or (batch, spatial, channels) with channels_last, in float,
// double, bfloat16 or half, and so are the weights. Sums are in float, in double for
// double, in an order that depends on shapes and device only. Launches go to the caller's stream; nothing is allocated, nothing
// waits. No CUDA header is needed here.
#pragma once

#include <cstdint>

#include "common/target.hpp"

namespace clinaug::se {

enum class DType { float32, float64, bfloat16, float16 };

struct CudaCall {
  std::int64_t batch = 0, channels = 0, hidden = 0, spatial = 0;  // all at least 1
  bool channels_last = false;
  DType element = DType::float32;
  bool relu = false;   // else z below zero is multiplied by slope, which is 1 where there is no activation
  double slope = 1.0;
  Target target;
};

// Of the arrays named as in forward.hpp and backward.hpp; mean, hidden, gate, grad_logit and grad_hidden are in the sums' type.
struct ForwardAddresses {
  const void *x, *w1, *b1, *w2, *b2;
  const void* skip;  // or null
  void *y, *mean, *hidden, *gate;
  void* scratch;
};

struct BackwardAddresses {
  const void *grad_y, *x;
  const void* y;  // null where there is no activation
  const void *w1, *w2, *mean, *hidden, *gate;
  void* grad_x;
  void* grad_skip;  // or null
  void *grad_w1, *grad_b1, *grad_w2, *grad_b2, *grad_logit, *grad_hidden;
  void* scratch;
};

// How many numbers of the sums' type `scratch` has to have; zero where samples stay on chip.
std::int64_t scratch_size(const CudaCall& call, bool backward);

// Throw std::runtime_error with CUDA's words for a launch that fails.
void forward(const CudaCall& call, const ForwardAddresses& at);
void backward(const CudaCall& call, const BackwardAddresses& at);

}  // namespace clinaug::se
