// The kernel of log_mel: its phases, and the barriers between them. A block takes a tile of frames from the waveform to the
// log-mel; between the two everything stays in registers and shared memory.
#pragma once

#include "common/cuda.hpp"
#include "log_mel/device/bands.hpp"
#include "log_mel/device/columns.hpp"
#include "log_mel/device/rows.hpp"

namespace clinaug::device {

// `nothing` is 0, which the compiler cannot know: from sm_90 on it would otherwise ask for the block's rank in its cluster, a
// part of every shared address, again and again instead of keeping the sum.
template <class S, class Sample>
__global__ void __launch_bounds__(S::F::threads, S::F::blocks) log_mel_kernel(const Call call, const unsigned nothing) {
  extern __shared__ __align__(16) unsigned char dynamic[];
  unsigned char* const shared = dynamic + nothing;
  Place* places = reinterpret_cast<Place*>(shared + S::places_at);
  Complex32* cells = reinterpret_cast<Complex32*>(shared + S::cells_at);
  float* reals = reinterpret_cast<float*>(cells);
  float* powers = reinterpret_cast<float*>(shared + S::powers_at);
  using Frames = Abreast<S::F::abreast>;
  const Frames* abreast = reinterpret_cast<const Frames*>(shared + S::powers_at);
  Frames* sums = reinterpret_cast<Frames*>(shared + S::cells_at);
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t tile = blockIdx.x; tile < call.n_tiles; tile += gridDim.x) {
    const int live = live_frames<S>(call, tile);
    place_frames<S>(call, tile, places, thread);
    __syncthreads();
    transform_rows<S, Sample>(call, live, places, cells, reals, thread);
    __syncthreads();
    if constexpr (S::F::middle > 1) {
      transform_middle<S>(call, cells, thread);
      __syncthreads();
    }
    transform_columns<S>(call, cells, powers, thread);
    __syncthreads();
    sum_bands<S>(call, live, places, abreast, sums, thread);
    __syncthreads();
    if (call.split == 1) continue;
    add_parts<S>(call, live, places, sums, thread);
    __syncthreads();
  }
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
  constexpr std::int64_t most_blocks = 0x7fffffff;
  const auto blocks = static_cast<unsigned>(call.n_tiles < most_blocks ? call.n_tiles : most_blocks);
  cuda::launch("log_mel", &log_mel_kernel<S, Sample>, dim3(blocks), dim3(S::F::threads), S::shared_bytes, target, call, 0u);
}

}  // namespace clinaug::device
