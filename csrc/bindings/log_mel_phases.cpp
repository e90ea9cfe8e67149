#include <algorithm>
#include <stdexcept>

#include "bindings/buffers.hpp"
#include "bindings/contract.hpp"
#include "bindings/device_phases.hpp"
#include "common/phases.hpp"
#include "log_mel/device/bands.hpp"
#include "log_mel/device/columns.hpp"
#include "log_mel/device/plan.hpp"
#include "log_mel/device/rows.hpp"

namespace clinaug::bindings {
namespace {

using namespace device;

// log_mel_kernel's body, phase by phase.
template <class S, class Sample>
void run_block(const Call& call, std::int64_t block, std::int64_t blocks) {
  phases::SharedMemory memory(S::shared_bytes);
  const phases::Cells<Place> places(memory, S::places_at);
  const phases::Cells<Complex32> cells(memory, S::cells_at);
  const phases::Cells<float> reals(memory, S::cells_at), powers(memory, S::powers_at);
  const phases::Cells<Abreast<S::F::abreast>> abreast(memory, S::powers_at), sums(memory, S::cells_at);
  const auto phase = [&](auto f) { phases::every_thread(memory, S::F::threads, f); };
  for (std::int64_t tile = block; tile < call.n_tiles; tile += blocks) {
    memory.forget();  // a tile may read nothing of the one before
    const int live = live_frames<S>(call, tile);
    phase([&](int thread) { place_frames<S>(call, tile, places, thread); });
    phase([&](int thread) { transform_rows<S, Sample>(call, live, places, cells, reals, thread); });
    if constexpr (S::F::middle > 1) phase([&](int thread) { transform_middle<S>(call, cells, thread); });
    phase([&](int thread) { transform_columns<S>(call, cells, powers, thread); });
    call.half_out ? phase([&](int thread) { sum_bands<S, Half>(call, live, places, abreast, sums, thread); })
                  : phase([&](int thread) { sum_bands<S, float>(call, live, places, abreast, sums, thread); });
    if (call.split == 1) continue;
    call.half_out ? phase([&](int thread) { add_parts<S, Half>(call, live, places, sums, thread); })
                  : phase([&](int thread) { add_parts<S, float>(call, live, places, sums, thread); });
  }
}

// x: (batch, samples) float32 or int16, its samples side by side; out: (batch, n_mels, n_frames), dense; blocks: of the grid.
void run(const py::dict& contract, const py::object& x, const py::object& out, std::int64_t blocks) {
  const Buffer from = as_buffer(x), to = as_buffer(out);
  if (from.strides[1] != 1 && from.shape[1] > 1) throw std::invalid_argument("log_mel phases: the samples of a row lie apart");
  const Plan plan(parse_params(contract));
  const bool int16 = from.dtype == "int16";
  const Waveforms waveforms{from.address, int16, from.shape[0], from.shape[1], from.strides[0]};
  // As on the device: nothing is promised but the alignment.
  std::vector<std::byte> room(plan.tables().size() + 16);
  std::byte* tables = room.data() + (16 - reinterpret_cast<std::uintptr_t>(room.data()) % 16);
  std::copy(plan.tables().begin(), plan.tables().end(), tables);
  const Call call = plan.call(waveforms, to.address, to.dtype == "float16", tables);
  with_size(plan.params().n_fft, [&](auto size) {
    using S = decltype(size);
    for (std::int64_t block = 0; block < std::min(blocks, call.n_tiles); ++block) {
      int16 ? run_block<S, std::int16_t>(call, block, blocks) : run_block<S, float>(call, block, blocks);
    }
  });
}

}  // namespace

void bind_log_mel_phases(py::module_& module) {
  module.def("log_mel", &run, py::arg("contract"), py::arg("x"), py::arg("out"), py::arg("blocks"),
             "log_mel's kernel on the CPU; raises where its threads race");
}

}  // namespace clinaug::bindings
