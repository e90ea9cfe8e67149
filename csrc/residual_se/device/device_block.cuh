// The Block of reduce.hpp that a CUDA block is.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "residual_se/device/walk.hpp"

namespace clinaug::se {

extern __shared__ __align__(128) unsigned char dynamic_shared[];

// Clusters came with sm_90; a block that was launched without one is a cluster of its own. Before sm_90 there is one slice a
// sample, so that a block's own memory is all that it asks for.
struct DeviceBlock {
  const int threads = static_cast<int>(blockDim.x);

  template <class F>
  __device__ __forceinline__ void each(const F& f) {
    f(static_cast<int>(threadIdx.x));
  }

  __device__ __forceinline__ void sync() { __syncthreads(); }

  template <class T>
  __device__ __forceinline__ T* array(std::int64_t offset) {
    return reinterpret_cast<T*>(dynamic_shared + offset);
  }

  template <int kCount, class T>
  __device__ __forceinline__ Pack<T, kCount> load(const T* array, std::int64_t i) {
    Pack<T, kCount> pack;
    if constexpr (sizeof pack == 16) {
      const uint4 words = *reinterpret_cast<const uint4*>(array + i);
      memcpy(&pack, &words, sizeof pack);
    } else {
      static_assert(kCount == 1);
      pack.at[0] = array[i];
    }
    return pack;
  }

  template <int kCount, class T>
  __device__ __forceinline__ void store(T* array, std::int64_t i, const Pack<T, kCount>& pack) {
    if constexpr (sizeof pack == 16) {  // left to itself, the compiler splits the store of a struct
      uint4 words;
      memcpy(&words, &pack, sizeof words);
      const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(array + i));
      asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
                   : "memory");
    } else {
      static_assert(kCount == 1);
      array[i] = pack.at[0];
    }
  }

  // Whole vectors go past the registers and past L1: all of a slice is under way at once, from sm_90 on as one copy.
  template <int kVector, class T>
  __device__ __forceinline__ void copy_in(T* array, const T* from, int count, int phase, bool vectors, std::int64_t arrival) {
    const int thread = static_cast<int>(threadIdx.x);
    const Body body = vectors ? body_of<kVector>(0, count, phase) : Body{count, count};
    [[maybe_unused]] const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(array + body.begin));
    [[maybe_unused]] const std::uint64_t source = __cvta_generic_to_global(from + body.begin);
#if __CUDA_ARCH__ >= 900
    if (thread == 0) {
      const std::uint32_t bytes = (body.end - body.begin) * static_cast<std::uint32_t>(sizeof(T));
      const std::uint32_t barrier = shared_address(arrival);
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nfence.proxy.async.shared::cta;" ::"r"(barrier) : "memory");
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
      if (bytes > 0) {
        // x is read once: it leaves the room in L2 to the skip, which waits there for the gates.
        asm volatile(
            "{\n.reg .b64 once;\ncreatepolicy.fractional.L2::evict_first.b64 once, 1.0;\n"
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], once;\n}"
            ::"r"(to), "l"(source), "r"(bytes), "r"(barrier)
            : "memory");
      }
    }
#elif __CUDA_ARCH__ >= 800
    for (int i = thread * kVector; i < body.end - body.begin; i += threads * kVector) {
      const auto bytes = i * static_cast<std::uint32_t>(sizeof(T));
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + bytes), "l"(source + bytes) : "memory");
    }
#else
    for (int i = body.begin + thread * kVector; i < body.end; i += threads * kVector) {
      *reinterpret_cast<uint4*>(array + i) = *reinterpret_cast<const uint4*>(from + i);
    }
#endif
    for (int i = thread; i < body.begin; i += threads) array[i] = from[i];
    for (int i = body.end + thread; i < count; i += threads) array[i] = from[i];
  }
  __device__ __forceinline__ void await_copy(std::int64_t arrival) {
#if __CUDA_ARCH__ >= 900
    __syncthreads();  // the barrier in memory is there, and so is what threads copied
    const std::uint32_t barrier = shared_address(arrival);
    std::uint32_t there = 0;
    while (there == 0) {
      asm volatile("{\n.reg .pred there;\nmbarrier.try_wait.parity.shared::cta.b64 there, [%1], 0;\nselp.u32 %0, 1, 0, there;\n}"
                   : "=r"(there)
                   : "r"(barrier)
                   : "memory");
    }
#else
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
    __syncthreads();
#endif
  }

  template <class T>
  __device__ __forceinline__ void prefetch(const T* array, int count) {
    const auto begin = static_cast<std::uint64_t>(__cvta_generic_to_global(array)), end = begin + count * sizeof(T);
#if __CUDA_ARCH__ >= 900
    const std::uint64_t aligned = (begin + 15) / 16 * 16;
    if (threadIdx.x == 0 && aligned + 16 <= end) {
      const auto bytes = static_cast<std::uint32_t>((end - aligned) / 16 * 16);
      asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(aligned), "r"(bytes) : "memory");
    }
#else
    constexpr std::uint64_t kLine = 128;
    for (std::uint64_t at = begin + threadIdx.x * kLine; at < end; at += blockDim.x * kLine) {
      asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
    }
#endif
  }

  template <class T>
  __device__ __forceinline__ const T* peer(const T* array, int rank) {
#if __CUDA_ARCH__ >= 900
    std::uint64_t there;
    asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(array), "r"(static_cast<std::uint32_t>(rank)));
    return reinterpret_cast<const T*>(there);
#else
    return array;
#endif
  }

  // Between the two functions of a kernel: what was written to shared memory before is seen after. A fence for that alone does
  // not wait until global memory has what was written there.
  __device__ __forceinline__ void sync_cluster() {
#if __CUDA_ARCH__ < 900
    sync();
#elif __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1208
    asm volatile("fence.release.sync_restrict::shared::cta.cluster;\nbarrier.cluster.arrive.relaxed;" ::: "memory");
    asm volatile("barrier.cluster.wait;\nfence.acquire.sync_restrict::shared::cluster.cluster;" ::: "memory");
#else
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#endif
  }
  // After sync(), so that what was read of peers has arrived; nothing is handed over, and so nothing is waited for in memory.
  __device__ __forceinline__ void release_peers() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
#endif
  }
  __device__ __forceinline__ void await_peers() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait;" ::: "memory");
#endif
  }

  template <class Real, class F, class G>
  __device__ __forceinline__ void team_sums(int items, const Team team, const F& f, const G& g) {
    const int thread = static_cast<int>(threadIdx.x);
    for (int first = 0; first < items; first += team.of(threads)) {  // the same for all threads: every lane of a warp is there
      const int item = first + team.of(thread);
      Real sum = item < items ? f(thread, item) : Real{0};
      for (int bit = team.log - 1; bit >= 0; --bit) sum += __shfl_xor_sync(0xffffffffu, sum, 1 << bit);
      if (item < items) g(thread, item, sum);
    }
  }

 private:
  __device__ __forceinline__ static std::uint32_t shared_address(std::int64_t offset) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(dynamic_shared + offset));
  }
};

}  // namespace clinaug::se
