#include "residual_se/residual_se.hpp"

#include <cmath>
#include <vector>

#include "common/parallel.hpp"

namespace clinaug {
namespace {

constexpr std::int64_t kElementsWorthAThread = 1 << 15;

template <class Real>
Real activate(Real value, Activation activation, Real slope) {
  switch (activation) {
    case Activation::none: return value;
    case Activation::relu: return value < Real{0} ? Real{0} : value;
    case Activation::leaky_relu: return value < Real{0} ? value * slope : value;
  }
  return value;
}

template <class Real>
void channel_means(const ResidualSeParams& params, const Real* x, std::vector<double>& mean) {
  const std::int64_t channels = params.channels, spatial = params.spatial;
  std::fill(mean.begin(), mean.end(), 0.0);
  if (params.channels_last) {
    for (std::int64_t s = 0; s < spatial; ++s) {
      for (std::int64_t c = 0; c < channels; ++c) mean[c] += x[s * channels + c];
    }
  } else {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t s = 0; s < spatial; ++s) mean[c] += x[c * spatial + s];
    }
  }
  for (double& value : mean) value /= static_cast<double>(spatial);
}

// out = W in + b, W (out.size(), in.size()).
template <class Real>
void affine(const Real* w, const Real* b, const std::vector<double>& in, std::vector<double>& out) {
  for (std::size_t o = 0; o < out.size(); ++o) {
    double sum = b[o];
    for (std::size_t i = 0; i < in.size(); ++i) sum += static_cast<double>(w[o * in.size() + i]) * in[i];
    out[o] = sum;
  }
}

}  // namespace

template <class Real>
void residual_se(const ResidualSeParams& params, const Real* x, const Real* w1, const Real* b1, const Real* w2,
                 const Real* b2, const Real* skip, Real* y, std::int64_t threads) {
  const std::int64_t sample = params.channels * params.spatial;
  const auto slope = static_cast<Real>(params.slope);
  parallel_for(params.batch, threads, kElementsWorthAThread / (sample + 1) + 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> mean(params.channels), hidden(params.hidden), logit(params.channels);
    std::vector<Real> gate(params.channels);
    for (std::int64_t b = begin; b < end; ++b) {
      const Real* xb = x + b * sample;
      const Real* sb = skip == nullptr ? nullptr : skip + b * sample;
      Real* yb = y + b * sample;
      channel_means(params, xb, mean);
      affine(w1, b1, mean, hidden);
      for (double& value : hidden) value = activate(value, Activation::relu, 0.0);
      affine(w2, b2, hidden, logit);
      for (std::int64_t c = 0; c < params.channels; ++c) gate[c] = static_cast<Real>(1.0 / (1.0 + std::exp(-logit[c])));
      for (std::int64_t i = 0; i < sample; ++i) {
        const Real scaled = xb[i] * gate[params.channels_last ? i % params.channels : i / params.spatial];
        yb[i] = activate(sb == nullptr ? scaled : scaled + sb[i], params.activation, slope);
      }
    }
  });
}

template void residual_se(const ResidualSeParams&, const float*, const float*, const float*, const float*, const float*,
                          const float*, float*, std::int64_t);
template void residual_se(const ResidualSeParams&, const double*, const double*, const double*, const double*,
                          const double*, const double*, double*, std::int64_t);

}  // namespace clinaug
