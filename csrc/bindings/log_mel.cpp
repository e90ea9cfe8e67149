#include "log_mel/log_mel.hpp"

#include <memory>
#include <string>
#include <type_traits>

#include "bindings/bindings.hpp"
#include "bindings/buffers.hpp"
#include "bindings/contract.hpp"
#include "bindings/without_gil.hpp"
#include "common/huge_pages.hpp"

namespace clinaug::bindings {
namespace {

template <class In>
void run_into(const LogMelPlan& plan, const Buffer& x, const Buffer& out, std::int64_t threads) {
  const auto from = as_view<const In, 2>(x);
  const auto compute = [&](auto to) {
    const LogMelParams& params = plan.params();
    if (to.extent[0] != from.extent[0] || to.extent[1] != params.n_mels || to.extent[2] != params.n_frames(from.extent[1])) {
      throw std::invalid_argument("log_mel: out does not have the shape (batch, n_mels, n_frames)");
    }
    WithoutGil released;
    plan.run(from, to, threads);
  };
  if (out.dtype == "float32") return compute(as_view<float, 3>(out));
  if constexpr (!std::is_same_v<In, double>) {
    if (out.dtype == "float16") return compute(as_view<Half, 3>(out));
  }
  if (out.dtype == "float64") return compute(as_view<double, 3>(out));
  throw std::invalid_argument("log_mel: out is " + out.dtype);
}

// A single waveform is a batch of one.
void add_batch(Buffer& buffer) {
  buffer.shape.insert(buffer.shape.begin(), 1);
  buffer.strides.insert(buffer.strides.begin(), 0);
}

void run(const LogMelPlan& plan, const py::object& x, const py::object& out, std::int64_t threads) {
  Buffer from = as_buffer(x), to = as_buffer(out);
  if (from.shape.size() == 1) {
    add_batch(from);
    add_batch(to);
  }
  if (from.dtype == "float32") return run_into<float>(plan, from, to, threads);
  if (from.dtype == "float64") return run_into<double>(plan, from, to, threads);
  if (from.dtype == "int16") return run_into<std::int16_t>(plan, from, to, threads);
  throw std::invalid_argument("log_mel: x is " + from.dtype);
}

}  // namespace

void bind_log_mel(py::module_& module) {
  py::list sets;
  for (const InstructionSet set : supported_sets()) sets.append(name_of(set));
  module.attr("instruction_sets") = sets;
  module.def("find_instruction_set", [](const std::string& name) { return name_of(find_set(name)); }, py::arg("name"),
             "the name itself, or the fastest for an empty one; ValueError if it does not run here");
  module.def("ask_for_huge_pages", [](std::uintptr_t address, std::size_t bytes) { ask_for_huge_pages(reinterpret_cast<void*>(address), bytes); },
             py::arg("address"), py::arg("bytes"), "of an array that has just been allocated, where it is large");
  py::class_<LogMelPlan>(module, "LogMelPlan", "The tables of one mel contract, ready to run on waveforms.")
      .def(py::init([](const py::dict& contract, const std::string& instruction_set) {
             return std::make_unique<LogMelPlan>(parse_params(contract), find_set(instruction_set));
           }),
           py::arg("contract"), py::arg("instruction_set"))
      .def("shape", [](const LogMelPlan& plan, std::int64_t n_samples) {
             return py::make_tuple(plan.params().n_mels, plan.params().n_frames(n_samples));
           }, py::arg("n_samples"), "(n_mels, n_frames) of a waveform")
      .def("run", &run, py::arg("x"), py::arg("out"), py::arg("threads"),
           "x ([batch,] samples) float32|float64|int16, out ([batch,] n_mels, n_frames) float32|float16|float64: buffers");
}

}  // namespace clinaug::bindings
