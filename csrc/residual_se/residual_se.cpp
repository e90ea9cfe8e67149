#include "residual_se/residual_se.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "common/parallel.hpp"

namespace clinaug {
namespace {

constexpr std::int64_t kElementsWorthAThread = 1 << 15;

// Partial sums side by side, so that the compiler may use vector registers; their number fixes the order of the sums.
constexpr std::int64_t kLanes = 16;

template <Activation kActivation, class Real>
Real activate(Real value, Real slope) {
  if constexpr (kActivation == Activation::none) return value;
  if constexpr (kActivation == Activation::relu) return value < Real{0} ? Real{0} : value;
  if constexpr (kActivation == Activation::leaky_relu) return value < Real{0} ? value * slope : value;
}

// Sum of term(0), ..., term(n - 1).
template <class Real, class Term>
Real sum_of(std::int64_t n, const Term& term) {
  std::array<Real, kLanes> lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  }
  for (std::int64_t lane = 0; i < n; ++i, ++lane) lanes[lane] += term(i);
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

template <class Real>
void channel_means(const ResidualSeParams& params, const Real* x, std::vector<Real>& mean) {
  const std::int64_t channels = params.channels, spatial = params.spatial;
  if (params.channels_last) {
    std::fill(mean.begin(), mean.end(), Real{0});
    for (std::int64_t s = 0; s < spatial; ++s) {
      for (std::int64_t c = 0; c < channels; ++c) mean[c] += x[s * channels + c];
    }
  } else {
    for (std::int64_t c = 0; c < channels; ++c) mean[c] = sum_of<Real>(spatial, [row = x + c * spatial](std::int64_t i) { return row[i]; });
  }
  for (Real& value : mean) value /= static_cast<Real>(spatial);
}

// y[i] = act(x[i] * gate(i) + skip[i]); gate is one number (a channel of NCHW) or one a channel (a pixel of NHWC).
template <Activation kActivation, class Real, class Gate>
void scale_row(std::int64_t n, const Real* x, const Gate& gate, const Real* skip, Real* y, Real slope) {
  if (skip == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = activate<kActivation>(x[i] * gate(i), slope);
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i] = activate<kActivation>(x[i] * gate(i) + skip[i], slope);
  }
}

template <Activation kActivation, class Real>
void excite(const ResidualSeParams& params, const Real* x, const std::vector<Real>& gate, const Real* skip, Real* y) {
  const bool last = params.channels_last;
  const std::int64_t rows = last ? params.spatial : params.channels;
  const std::int64_t length = last ? params.channels : params.spatial;
  const auto slope = static_cast<Real>(params.slope);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t at = row * length;
    const Real* skip_row = skip == nullptr ? nullptr : skip + at;
    if (last) {
      scale_row<kActivation>(length, x + at, [&](std::int64_t c) { return gate[c]; }, skip_row, y + at, slope);
    } else {
      scale_row<kActivation>(length, x + at, [g = gate[row]](std::int64_t) { return g; }, skip_row, y + at, slope);
    }
  }
}

// out = W in + b, W (out.size(), in.size()).
template <class Real>
void affine(const Real* w, const Real* b, const std::vector<Real>& in, std::vector<Real>& out) {
  for (std::size_t o = 0; o < out.size(); ++o) {
    const Real* row = w + o * in.size();
    out[o] = b[o] + sum_of<Real>(in.size(), [row, &in](std::int64_t i) { return row[i] * in[i]; });
  }
}

}  // namespace

template <class Real>
void residual_se(const ResidualSeParams& params, const Real* x, const Real* w1, const Real* b1, const Real* w2,
                 const Real* b2, const Real* skip, Real* y, std::int64_t threads) {
  const std::int64_t sample = params.channels * params.spatial;
  const auto excite_sample = params.activation == Activation::none   ? excite<Activation::none, Real>
                             : params.activation == Activation::relu ? excite<Activation::relu, Real>
                                                                     : excite<Activation::leaky_relu, Real>;
  parallel_for(params.batch, threads, kElementsWorthAThread / (sample + 1) + 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<Real> mean(params.channels), hidden(params.hidden), gate(params.channels);
    for (std::int64_t b = begin; b < end; ++b) {
      channel_means(params, x + b * sample, mean);
      affine(w1, b1, mean, hidden);
      for (Real& value : hidden) value = activate<Activation::relu>(value, Real{0});
      affine(w2, b2, hidden, gate);
      for (Real& value : gate) value = Real{1} / (Real{1} + std::exp(-value));
      excite_sample(params, x + b * sample, gate, skip == nullptr ? nullptr : skip + b * sample, y + b * sample);
    }
  });
}

template void residual_se(const ResidualSeParams&, const float*, const float*, const float*, const float*, const float*,
                          const float*, float*, std::int64_t);
template void residual_se(const ResidualSeParams&, const double*, const double*, const double*, const double*,
                          const double*, const double*, double*, std::int64_t);

}  // namespace clinaug
