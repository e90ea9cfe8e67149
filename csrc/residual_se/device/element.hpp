// What a tensor is made of on the device: float, double, bfloat16 or half, sums in float (in double for double), 16 bytes a
// vector. The same code runs on the CPU in the tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>

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

// kAgain: it will be read again soon; else it need not stay in the caches.
template <int kCount, bool kAgain = false, class Element>
CLINAUG_HOST_DEVICE Pack<Element, kCount> read(const Element* from, std::int64_t i) {
  Pack<Element, kCount> pack;
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof pack == 16) {
    const auto* const at = reinterpret_cast<const uint4*>(from + i);
    const uint4 words = kAgain ? __ldca(at) : __ldcs(at);
    memcpy(&pack, &words, sizeof pack);
  } else {
    static_assert(kCount == 1);
    pack.at[0] = from[i];
  }
#else
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

// The activation: relu, or z below zero times slope, which is 1 where there is none.
template <class Real>
struct Bend {
  bool relu;
  Real slope;

  CLINAUG_HOST_DEVICE Real operator()(Real z) const {
    const Real below = relu ? Real{0} : z * slope;
    return z < Real{0} ? below : z;
  }

  // dL/dz from dL/dy; y has the sign of z. At zero it is as below zero.
  CLINAUG_HOST_DEVICE Real gradient(Real y, Real grad) const {
    const Real below = relu ? Real{0} : grad * slope;
    return y > Real{0} ? grad : below;
  }
};

template <class Real>
CLINAUG_HOST_DEVICE Real sigmoid(Real logit) {
  using std::exp;
  return Real{1} / (Real{1} + exp(-logit));
}

}  // namespace clinaug::se
