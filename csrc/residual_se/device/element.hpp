// What a tensor is made of on the device: float, double, bfloat16 or half, sums in float (in double for double), 16 bytes a
// vector. The same code runs on the CPU in the tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "common/host_device.hpp"

namespace clinaug::se {

struct Bfloat16 {
  std::uint16_t bits;
};

struct Float16 {
  std::uint16_t bits;
};

// What sums, gates and the two small layers are computed in.
template <class Element>
using Accumulator = std::conditional_t<std::is_same_v<Element, double>, double, float>;

namespace detail {

CLINAUG_HOST_DEVICE std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

CLINAUG_HOST_DEVICE float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace detail

CLINAUG_HOST_DEVICE float widen(float value) { return value; }
CLINAUG_HOST_DEVICE double widen(double value) { return value; }
CLINAUG_HOST_DEVICE float widen(Bfloat16 value) { return detail::float_of(static_cast<std::uint32_t>(value.bits) << 16); }

CLINAUG_HOST_DEVICE float widen(Float16 value) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(value.bits));
#else
  const std::uint32_t sign = (value.bits & 0x8000u) << 16, magnitude = value.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return detail::float_of(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  // Scaling by 2^112 moves the exponent's bias, for subnormal halves too.
  const float scaled = detail::float_of(magnitude << 13) * detail::float_of(0x77800000u);
  return detail::float_of(sign | detail::bits_of(scaled));
#endif
}

// Rounds to nearest, ties to even.
template <class Element>
CLINAUG_HOST_DEVICE Element narrow(Accumulator<Element> value) {
  if constexpr (std::is_same_v<Element, Bfloat16>) {
#if defined(__CUDA_ARCH__)
    return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
    const std::uint32_t bits = detail::bits_of(value);
    if (value != value) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
    return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
#endif
  } else if constexpr (std::is_same_v<Element, Float16>) {
#if defined(__CUDA_ARCH__)
    return {__half_as_ushort(__float2half_rn(value))};
#else
    const std::uint32_t bits = detail::bits_of(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
    if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};
    if (magnitude < 0x38800000u) {  // subnormal: the sum with 1/2 leaves the half's bits at the end of the float's
      const std::uint32_t rounded = detail::bits_of(detail::float_of(magnitude) + 0.5f);
      return {static_cast<std::uint16_t>(sign | (rounded - 0x3f000000u))};
    }
    return {static_cast<std::uint16_t>(sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13)};
#endif
  } else {
    return value;
  }
}

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
