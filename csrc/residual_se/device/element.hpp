// What a tensor is made of on the device: float, double, bfloat16 or half, sums in float (in double for double), 16 bytes a
// vector. The same code runs on the CPU in the tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "common/convert.hpp"
#include "common/host_device.hpp"

namespace clinaug::se {

// `kCount` neighbours, moved by one access where they are 16 bytes.
template <class Element, int kCount>
struct alignas(kCount * sizeof(Element)) Pack {
  Element at[kCount];
};

template <class Element>
inline constexpr int kVector = static_cast<int>(16 / sizeof(Element));

#if !defined(__CUDA_ARCH__)
namespace detail {

// What the device would trap on.
template <int kCount, class Element>
void aligned_or_throw(const Element* address) {
  if (kCount > 1 && reinterpret_cast<std::uintptr_t>(address) % (kCount * sizeof(Element)) != 0) {
    throw std::logic_error("a vector of global memory that is not aligned");
  }
}

}  // namespace detail
#endif

// kAgain: it will be read again soon; else it need not stay in the caches. Zeros where there is nothing.
template <int kCount, bool kAgain = false, class Element>
CLINAUG_HOST_DEVICE Pack<Element, kCount> read(const Element* from, std::int64_t i, bool there = true) {
  Pack<Element, kCount> pack{};
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof pack == 16) {
    // Volatile: the compiler would put off a load until what it fetches is used, and only then begin the next.
    uint4 words = make_uint4(0, 0, 0, 0);
    if (there) {
      const std::uint64_t at = __cvta_generic_to_global(from + i);
      if constexpr (kAgain) {
        asm volatile("ld.global.ca.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
                     : "l"(at));
      } else {
        asm volatile("ld.global.cs.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
                     : "l"(at));
      }
    }
    memcpy(&pack, &words, sizeof pack);
  } else {
    static_assert(kCount == 1);
    if (there) pack.at[0] = from[i];
  }
#else
  if (!there) return pack;
  detail::aligned_or_throw<kCount>(from + i);
  std::memcpy(&pack, from + i, sizeof pack);
#endif
  return pack;
}

template <int kCount, class Element>
CLINAUG_HOST_DEVICE void write(Element* to, std::int64_t i, const Pack<Element, kCount>& pack) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof pack == 16) {  // left to itself, the compiler splits the store of a struct
    uint4 words;
    memcpy(&words, &pack, sizeof words);
    __stwb(reinterpret_cast<uint4*>(to + i), words);
  } else {
    static_assert(kCount == 1);
    to[i] = pack.at[0];
  }
#else
  detail::aligned_or_throw<kCount>(to + i);
  std::memcpy(to + i, &pack, sizeof pack);
#endif
}

// A vector's numbers: of two bfloat16 in a word, each is a float but for its lower half. Left to itself, the compiler takes the
// word apart first.
template <class Element, int kCount>
CLINAUG_HOST_DEVICE void widen_all(const Pack<Element, kCount>& pack, Accumulator<Element> (&values)[kCount]) {
  if constexpr (std::is_same_v<Element, Bfloat16> && kCount > 1) {
    std::uint32_t words[kCount / 2];
    memcpy(words, &pack, sizeof words);
    CLINAUG_UNROLL
    for (int k = 0; k < kCount / 2; ++k) {
      values[2 * k] = clinaug::detail::float_of(words[k] << 16);
      values[2 * k + 1] = clinaug::detail::float_of(words[k] & 0xffff0000u);
    }
  } else {
    CLINAUG_UNROLL
    for (int k = 0; k < kCount; ++k) values[k] = widen(pack.at[k]);
  }
}

// The activation: relu, or z below zero times slope, which is 1 where there is none.
template <class Real>
struct Bend {
  bool relu;
  Real slope;

  template <bool kRelu>
  CLINAUG_HOST_DEVICE Real apply(Real z) const {
    return z < Real{0} ? (kRelu ? Real{0} : z * slope) : z;
  }

  // dL/dz from dL/dy; y has the sign of z. At zero it is as below zero, where y is NaN as above.
  CLINAUG_HOST_DEVICE Real gradient(Real y, Real grad) const {
    const Real below = relu ? Real{0} : grad * slope;
    return y <= Real{0} ? below : grad;
  }
};

template <class Real>
CLINAUG_HOST_DEVICE Real sigmoid(Real logit) {
  using std::exp;
  return Real{1} / (Real{1} + exp(-logit));
}

}  // namespace clinaug::se
