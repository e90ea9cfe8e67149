// The gradients of the two small layers: sums over samples, in the order of the samples, of
//   grad_w1 (hidden, C) += grad_hidden mean',      grad_b1 += grad_hidden,
//   grad_w2 (C, hidden) += grad_logit relu(hidden)', grad_b2 += grad_logit
// in one launch. A block has a tile of 32 channels by kUnits hidden units; a lane is a channel; warps share the samples.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"
#include "residual_se/device/element.hpp"

namespace clinaug::se {

// Addresses. mean, grad_logit: (B, C); hidden (before its relu), grad_hidden: (B, hidden).
template <class Element>
struct WeightGrads {
  using Real = Accumulator<Element>;
  std::int64_t batch = 0, channels = 0, hidden_units = 0;
  const Real *mean = nullptr, *hidden = nullptr, *grad_logit = nullptr, *grad_hidden = nullptr;
  Element *grad_w1 = nullptr, *grad_b1 = nullptr, *grad_w2 = nullptr, *grad_b2 = nullptr;
};

inline constexpr int kUnits = 4;
inline constexpr int kSamplesUnderWay = 2;  // a warp
inline constexpr int kWarpLanes = 32;
// A row a warp: for each lane kUnits of grad_w1, kUnits of grad_w2, and grad_b2; then kUnits of grad_b1.
inline constexpr int kRow = (2 * kUnits + 1) * kWarpLanes + kUnits;

// A block each.
struct WeightTiles {
  std::int64_t channels, units;

  WeightTiles(std::int64_t all_channels, std::int64_t all_units)
      : channels((all_channels + kWarpLanes - 1) / kWarpLanes), units((all_units + kUnits - 1) / kUnits) {}
};

template <class Real>
CLINAUG_HOST_DEVICE std::int64_t weight_grads_shared(int threads) {
  return static_cast<std::int64_t>(threads / kWarpLanes) * kRow * sizeof(Real);
}

template <class Element, class Block>
CLINAUG_HOST_DEVICE void weight_grads(Block& block, const WeightGrads<Element>& to, std::int64_t channel_tile,
                                      std::int64_t unit_tile) {
  using Real = Accumulator<Element>;
  const int warps = block.threads / kWarpLanes;
  const std::int64_t c0 = channel_tile * kWarpLanes, j0 = unit_tile * kUnits;
  const auto cells = block.template array<Real>(0);
  block.each([&](int thread) {
    const int lane = thread % kWarpLanes, warp = thread / kWarpLanes;
    const std::int64_t c = c0 + lane;
    const bool here = c < to.channels;
    Real of_w1[kUnits] = {}, of_w2[kUnits] = {}, of_b1[kUnits] = {}, of_b2{0};
    for (std::int64_t first = warp; first < to.batch; first += kSamplesUnderWay * warps) {
      Real mean[kSamplesUnderWay], grad_logit[kSamplesUnderWay];
      Real unit[kSamplesUnderWay][kUnits], grad_unit[kSamplesUnderWay][kUnits];
      CLINAUG_UNROLL
      for (int s = 0; s < kSamplesUnderWay; ++s) {
        const std::int64_t b = first + s * warps;
        const bool one = b < to.batch;
        mean[s] = one && here ? to.mean[b * to.channels + c] : Real{0};
        grad_logit[s] = one && here ? to.grad_logit[b * to.channels + c] : Real{0};
        CLINAUG_UNROLL
        for (int k = 0; k < kUnits; ++k) {
          const bool present = one && j0 + k < to.hidden_units;
          unit[s][k] = present ? to.hidden[b * to.hidden_units + j0 + k] : Real{0};
          grad_unit[s][k] = present ? to.grad_hidden[b * to.hidden_units + j0 + k] : Real{0};
        }
      }
      CLINAUG_UNROLL
      for (int s = 0; s < kSamplesUnderWay; ++s) {
        of_b2 += grad_logit[s];
        CLINAUG_UNROLL
        for (int k = 0; k < kUnits; ++k) {
          of_w1[k] += grad_unit[s][k] * mean[s];
          of_w2[k] += grad_logit[s] * (unit[s][k] < Real{0} ? Real{0} : unit[s][k]);
          of_b1[k] += grad_unit[s][k];
        }
      }
    }
    const int row = warp * kRow;
    CLINAUG_UNROLL
    for (int k = 0; k < kUnits; ++k) {
      cells[row + k * kWarpLanes + lane] = of_w1[k];
      cells[row + (kUnits + k) * kWarpLanes + lane] = of_w2[k];
    }
    cells[row + 2 * kUnits * kWarpLanes + lane] = of_b2;
    if (lane == 0) {
      CLINAUG_UNROLL
      for (int k = 0; k < kUnits; ++k) cells[row + (2 * kUnits + 1) * kWarpLanes + k] = of_b1[k];
    }
  });
  block.sync();
  block.each([&](int thread) {
    for (int i = thread; i < kRow; i += block.threads) {
      Real sum{0};
      for (int warp = 0; warp < warps; ++warp) sum += cells[warp * kRow + i];
      const std::int64_t c = c0 + i % kWarpLanes;
      const int kind = i / kWarpLanes;
      if (kind > 2 * kUnits) {
        const std::int64_t j = j0 + i - (2 * kUnits + 1) * kWarpLanes;
        if (channel_tile == 0 && j < to.hidden_units) to.grad_b1[j] = narrow<Element>(sum);
      } else if (c >= to.channels) {
        continue;
      } else if (kind == 2 * kUnits) {
        if (unit_tile == 0) to.grad_b2[c] = narrow<Element>(sum);
      } else {
        const std::int64_t j = j0 + kind % kUnits;
        if (j >= to.hidden_units) continue;
        if (kind < kUnits) {
          to.grad_w1[j * to.channels + c] = narrow<Element>(sum);
        } else {
          to.grad_w2[c * to.hidden_units + j] = narrow<Element>(sum);
        }
      }
    }
  });
}

}  // namespace clinaug::se
