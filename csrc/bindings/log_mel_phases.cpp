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

// The teams of BandSums, thread by thread.
class Teams {
 public:
  Teams(phases::SharedMemory& memory, int threads) : memory_(memory), threads_(threads) {}

  template <class Work, class Make>
  void run(int rounds, const Make& make) {
    std::vector<Work> works;
    std::vector<typename Work::Sum> sums(threads_);
    each([&](int thread) { works.push_back(make(thread)); });
    for (int round = 0; round < rounds; ++round) {
      each([&](int thread) { sums[thread] = works[thread].part(); });
      add<0>(works, sums);
      each([&](int thread) { works[thread].write(sums[thread]); });
    }
    memory_.barrier();
  }

 private:
  template <class F>
  void each(const F& f) {
    phases::each_thread(memory_, threads_, f);
  }

  template <int stage, class Work, class Sum>
  void add(const std::vector<Work>& works, std::vector<Sum>& sums) {
    if constexpr (1 << stage < Work::split) {
      for (int i = 0; i < Work::kept_in(stage); ++i) {
        std::vector<float> given(threads_);
        each([&](int thread) { given[thread] = works[thread].template given<stage>(sums[thread], i); });
        each([&](int thread) { works[thread].template take<stage>(sums[thread], i, given[thread ^ (Work::lanes << stage)]); });
      }
      add<stage + 1>(works, sums);
    }
  }

  phases::SharedMemory& memory_;
  int threads_;
};

// log_mel_kernel's body, phase by phase; after(name) follows each phase.
template <class S, class Sample, class After>
void run_block(phases::SharedMemory& memory, const Call& call, std::int32_t tile, const After& after) {
  const phases::Cells<Complex32> cells(memory, S::cells_at);
  const phases::Cells<float> reals(memory, S::cells_at), powers(memory, S::powers_at);
  const phases::Cells<Abreast<S::F::abreast>> abreast(memory, S::powers_at);
  const auto phase = [&](const char* name, auto f) {
    phases::every_thread(memory, S::F::threads, f);
    after(name);
  };
  const int live = live_frames<S>(call, tile);
  phase("rows", [&](int thread) { transform_rows<S, Sample>(call, tile, live, cells, reals, thread); });
  if constexpr (S::F::middle > 1) phase("middle", [&](int thread) { transform_middle<S>(call, cells, thread); });
  if constexpr (S::in_place) {
    std::vector<Column<S>> columns(S::column_tasks);  // in the registers of as many threads
    phase("columns", [&](int thread) {
      if (thread < S::column_tasks) columns[thread].transform(call, cells, thread);
    });
    phase("powers", [&](int thread) {
      if (thread < S::column_tasks) columns[thread].store(powers, thread);
    });
  } else {
    phase("columns", [&](int thread) { transform_columns<S>(call, cells, powers, thread); });
  }
  Teams teams(memory, S::F::threads);
  sum_bands<S>(teams, call, tile, live, abreast);
  after("bands");
}

// As on the device: nothing is promised of the tables but their alignment.
struct Tables {
  std::vector<std::byte> room;
  std::byte* at;

  explicit Tables(const Plan& plan) : room(plan.tables().size() + 16) {
    at = room.data() + (16 - reinterpret_cast<std::uintptr_t>(room.data()) % 16);
    std::copy(plan.tables().begin(), plan.tables().end(), at);
  }
};

// x: (batch, samples) float32 or int16, its samples side by side; out: (batch, n_mels, n_frames), dense.
void run(const py::dict& contract, const py::object& x, const py::object& out) {
  const Buffer from = as_buffer(x), to = as_buffer(out);
  if (from.strides[1] != 1 && from.shape[1] > 1) throw std::invalid_argument("log_mel phases: the samples of a row lie apart");
  const Plan plan(parse_params(contract));
  const bool int16 = from.dtype == "int16";
  const Waveforms waveforms{from.address, int16, from.shape[0], from.shape[1], from.strides[0]};
  const Tables tables(plan);
  const Call call = plan.call(waveforms, to.address, to.dtype == "float16", tables.at);
  with_size(plan.params().n_fft, [&](auto size) {
    using S = decltype(size);
    const auto nothing = [](const char*) {};
    phases::SharedMemory memory(S::shared_bytes);
    for (std::int32_t tile = 0; tile < call.n_tiles; ++tile) {
      memory.forget();
      int16 ? run_block<S, std::int16_t>(memory, call, tile, nothing) : run_block<S, float>(memory, call, tile, nothing);
    }
  });
}

// Of each phase, for the first tile of a waveform: the wavefronts of its accesses to shared memory, and how few they could be.
py::dict wavefronts(const py::dict& contract) {
  const Plan plan(parse_params(contract));
  const Tables tables(plan);
  py::dict found;
  with_size(plan.params().n_fft, [&](auto size) {
    using S = decltype(size);
    const std::int64_t n = (S::F::frames + 1) * plan.params().hop_length + 2 * S::n_fft;
    const std::vector<float> x(n, 1.0f);
    std::vector<float> out(plan.params().n_mels * plan.params().n_frames(n));
    const Call call = plan.call({x.data(), false, 1, n, n}, out.data(), false, tables.at);
    phases::SharedMemory memory(S::shared_bytes);
    phases::Banks banks;
    memory.count_in(banks);
    run_block<S, float>(memory, call, 0, [&](const char* name) {
      const phases::Wavefronts counted = banks.close();
      found[name] = py::make_tuple(counted.taken, counted.least);
    });
  });
  return found;
}

}  // namespace

void bind_log_mel_phases(py::module_& module) {
  module.def("log_mel", &run, py::arg("contract"), py::arg("x"), py::arg("out"),
             "log_mel's kernel on the CPU; raises where its threads race");
  module.def("log_mel_wavefronts", &wavefronts, py::arg("contract"),
             "phase -> (wavefronts of shared memory that a full tile takes, how few they could be)");
}

}  // namespace clinaug::bindings
