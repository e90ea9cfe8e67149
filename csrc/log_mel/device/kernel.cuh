// The kernel of log_mel: its phases, and the barriers between them. A block takes a tile of frames from the waveform to the
// log-mel; between the two everything stays in registers and shared memory.
#pragma once

#include "common/cuda.hpp"
#include "log_mel/device/bands.hpp"
#include "log_mel/device/columns.hpp"
#include "log_mel/device/rows.hpp"

namespace clinaug::device {

// The teams of BandSums, in the warps of a block; begins with the barrier after which all powers are there.
struct WarpTeams {
  template <class Work, class Make>
  __device__ __forceinline__ void run(int rounds, const Make& make) {
    Work work = make(threadIdx.x);
    __syncthreads();  // here and not before: what the first round needs is on its way meanwhile
    for (int round = 0; round < rounds; ++round) {  // the same for all threads: every lane of a warp is there
      typename Work::Sum sum = work.part();
      add<0>(work, sum);
      work.write(sum);
    }
  }

 private:
  template <int stage, class Work>
  __device__ __forceinline__ void add(const Work& work, typename Work::Sum& sum) {
    if constexpr (1 << stage < Work::split) {
      CLINAUG_UNROLL
      for (int i = 0; i < Work::kept_in(stage); ++i) {
        work.template take<stage>(sum, i, __shfl_xor_sync(0xffffffffu, work.template given<stage>(sum, i), Work::lanes << stage));
      }
      add<stage + 1>(work, sum);
    }
  }
};

// A block a tile. `nothing` is 0, which the compiler cannot know: from sm_90 on it would otherwise ask for the block's rank in
// its cluster, a part of every shared address, again and again instead of keeping the sum.
template <class S, class Sample>
__global__ void __launch_bounds__(S::F::threads, S::F::blocks) log_mel_kernel(const Call call, const unsigned nothing) {
  extern __shared__ __align__(16) unsigned char dynamic[];
  unsigned char* const shared = dynamic + nothing;
  Complex32* cells = reinterpret_cast<Complex32*>(shared + S::cells_at);
  float* reals = reinterpret_cast<float*>(cells);
  float* powers = reinterpret_cast<float*>(shared + S::powers_at);
  const auto* abreast = reinterpret_cast<const Abreast<S::F::abreast>*>(powers);
  const int thread = static_cast<int>(threadIdx.x), tile = static_cast<int>(blockIdx.x), live = live_frames<S>(call, tile);
  transform_rows<S, Sample>(call, tile, live, cells, reals, thread);
  __syncthreads();
  if constexpr (S::F::middle > 1) {
    transform_middle<S>(call, cells, thread);
    __syncthreads();
  }
  if constexpr (S::in_place) {
    Column<S> column;
    if (thread < S::column_tasks) column.transform(call, cells, thread);
    __syncthreads();
    if (thread < S::column_tasks) column.store(powers, thread);
  } else {
    transform_columns<S>(call, cells, powers, thread);
  }
  WarpTeams teams;
  sum_bands<S>(teams, call, tile, live, abreast);
}

template <class S, class Sample>
void prepare(int device) {
  static cuda::SharedLimit limit;
  limit.raise(&log_mel_kernel<S, Sample>, S::shared_bytes, device, "log_mel", S::F::blocks);
}

template <class S, class Sample>
void launch(const Call& call, const Target& target) {
  // Both kinds at the first call: kernels are loaded lazily, and a capture may not be what loads one.
  prepare<S, float>(target.device);
  prepare<S, std::int16_t>(target.device);
  const auto blocks = static_cast<unsigned>(call.n_tiles);
  cuda::launch("log_mel", &log_mel_kernel<S, Sample>, dim3(blocks), dim3(S::F::threads), S::shared_bytes, target, call, 0u);
}

}  // namespace clinaug::device
