#include "residual_se/residual_se.hpp"

#include <map>
#include <optional>
#include <string>

#include "bindings/bindings.hpp"
#include "bindings/buffers.hpp"

namespace clinaug::bindings {
namespace {

const std::map<std::string, Activation> kActivations = {
    {"none", Activation::none}, {"relu", Activation::relu}, {"leaky_relu", Activation::leaky_relu}};

template <class Real>
const Real* address(const Buffer& buffer) {
  return static_cast<const Real*>(buffer.address);
}

template <class Real>
void run_as(const ResidualSeParams& params, const Buffer& x, const Buffer& w1, const Buffer& b1, const Buffer& w2,
            const Buffer& b2, const std::optional<Buffer>& skip, const Buffer& y, std::int64_t threads) {
  py::gil_scoped_release released;
  residual_se<Real>(params, address<Real>(x), address<Real>(w1), address<Real>(b1), address<Real>(w2), address<Real>(b2),
                    skip ? address<Real>(*skip) : nullptr, static_cast<Real*>(y.address), threads);
}

void run(const py::object& x, const py::object& w1, const py::object& b1, const py::object& w2, const py::object& b2,
         const py::object& skip, const py::object& y, bool channels_last, const std::string& activation, double slope,
         std::int64_t threads) {
  const Buffer xb = as_buffer(x), w1b = as_buffer(w1), b1b = as_buffer(b1), w2b = as_buffer(w2), b2b = as_buffer(b2), yb = as_buffer(y);
  const auto shape = as_view<const void*, 4>(xb).extent;
  ResidualSeParams params;
  params.batch = shape[0];
  params.channels = shape[1];
  params.hidden = b1b.shape.at(0);
  params.spatial = shape[2] * shape[3];
  params.channels_last = channels_last;
  params.activation = kActivations.at(activation);
  params.slope = slope;
  std::optional<Buffer> skip_or_none;
  if (!skip.is_none()) skip_or_none = as_buffer(skip);
  if (xb.dtype == "float32") return run_as<float>(params, xb, w1b, b1b, w2b, b2b, skip_or_none, yb, threads);
  if (xb.dtype == "float64") return run_as<double>(params, xb, w1b, b1b, w2b, b2b, skip_or_none, yb, threads);
  throw std::invalid_argument("residual_se: x is " + xb.dtype);
}

}  // namespace

void bind_residual_se(py::module_& module) {
  module.def("residual_se", &run, py::arg("x"), py::arg("w1"), py::arg("b1"), py::arg("w2"), py::arg("b2"), py::arg("skip"),
             py::arg("y"), py::arg("channels_last"), py::arg("activation"), py::arg("slope"), py::arg("threads"),
             "act(x * sigmoid(W2 relu(W1 mean(x) + b1) + b2) + skip) on dense buffers, float32|float64");
}

}  // namespace clinaug::bindings
