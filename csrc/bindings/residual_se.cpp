#include "residual_se/residual_se.hpp"

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include "bindings/bindings.hpp"
#include "bindings/without_gil.hpp"
#include "common/huge_pages.hpp"

// A call on a small tensor is a few microseconds of bookkeeping and next to no arithmetic, so tensors come as bare addresses
// (0: none), not as buffers. Python has checked shapes, types and that all is dense, and has just allocated what is written.
namespace clinaug::bindings {
namespace {

namespace py = pybind11;
using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

ResidualSeParams make_params(std::int64_t batch, std::int64_t channels, std::int64_t hidden, std::int64_t spatial, bool channels_last,
                             std::string_view act, double slope) {
  const Activation activation = act == "relu" ? Activation::relu : act == "leaky_relu" ? Activation::leaky_relu : Activation::none;
  return {batch, channels, hidden, spatial, channels_last, activation, slope};
}

// Calls f with a null pointer of the type that has so many bytes.
template <class F>
void with_type(int item_bytes, const F& f) {
  switch (item_bytes) {
    case 2: return f(static_cast<Bfloat16*>(nullptr));
    case 4: return f(static_cast<float*>(nullptr));
    case 8: return f(static_cast<double*>(nullptr));
    default: throw std::invalid_argument("residual_se: " + std::to_string(item_bytes) + " bytes an element; expected 2, 4 or 8");
  }
}

void ask_for_huge_pages_of(const ResidualSeParams& params, int item_bytes, std::initializer_list<Address> made) {
  const std::int64_t bytes = params.batch * params.channels * params.spatial * item_bytes;
  for (const Address address : made) ask_for_huge_pages(at<void>(address), address == 0 ? 0 : static_cast<std::size_t>(bytes));
}

class ResidualSe {
 public:
  explicit ResidualSe(const std::string& instruction_set) : set_(find_set(instruction_set)) {}

  void forward(Address x, Address w1, Address b1, Address w2, Address b2, Address skip, Address y, Address mean, Address hidden, Address gate,
               Address signs, int item_bytes, std::int64_t batch, std::int64_t channels, std::int64_t n_hidden, std::int64_t spatial, bool channels_last,
               std::string_view act, double slope, std::int64_t threads) const {
    const ResidualSeParams params = make_params(batch, channels, n_hidden, spatial, channels_last, act, slope);
    WithoutGil released;
    ask_for_huge_pages_of(params, item_bytes, {y});
    with_type(item_bytes, [&]<class T>(T*) {
      using Real = Accumulator<T>;
      residual_se<T>(params,
                     {at<T>(x), at<T>(w1), at<T>(b1), at<T>(w2), at<T>(b2), at<T>(skip), at<T>(y), at<Real>(mean), at<Real>(hidden), at<Real>(gate),
                      at<std::uint8_t>(signs)},
                     set_, threads);
    });
  }

  void backward(Address grad, Address x, Address y, Address w1, Address w2, Address mean, Address hidden, Address gate, Address signs, Address grad_x,
                Address grad_w1, Address grad_b1, Address grad_w2, Address grad_b2, Address grad_skip, int item_bytes, std::int64_t batch,
                std::int64_t channels, std::int64_t n_hidden, std::int64_t spatial, bool channels_last, std::string_view act, double slope,
                std::int64_t threads) const {
    const ResidualSeParams params = make_params(batch, channels, n_hidden, spatial, channels_last, act, slope);
    WithoutGil released;
    ask_for_huge_pages_of(params, item_bytes, {grad_x, grad_skip});
    with_type(item_bytes, [&]<class T>(T*) {
      using Real = Accumulator<T>;
      residual_se_backward<T>(params,
                              {at<T>(grad), at<T>(x), at<T>(y), at<T>(w1), at<T>(w2), at<Real>(mean), at<Real>(hidden), at<Real>(gate),
                               at<std::uint8_t>(signs), at<T>(grad_x), at<T>(grad_w1), at<T>(grad_b1), at<T>(grad_w2), at<T>(grad_b2), at<T>(grad_skip)},
                              set_, threads);
    });
  }

 private:
  InstructionSet set_;
};

}  // namespace

void bind_residual_se(py::module_& module) {
  py::class_<ResidualSe>(module, "ResidualSe", "The passes of residual_se on one instruction set; addresses of dense arrays, 0 for none.")
      .def(py::init<const std::string&>(), py::arg("instruction_set"))
      .def("forward", &ResidualSe::forward,
           "x, w1, b1, w2, b2, skip | 0, y, mean | 0, hidden | 0, gate | 0, signs | 0; bytes an element, batch, channels, hidden, spatial, "
           "channels_last, act, slope, threads")
      .def("backward", &ResidualSe::backward,
           "grad, x, y, w1, w2, mean, hidden, gate, signs | 0, grad_x, grad_w1, grad_b1, grad_w2, grad_b2, grad_skip | 0; bytes an element, "
           "batch, channels, hidden, spatial, channels_last, act, slope, threads");
}

}  // namespace clinaug::bindings
