// Numbers to what they are computed in, and back; on the CPU and on the GPU. The functions are static, so each instruction set
// has copies of its own.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "common/host_device.hpp"
#include "common/numbers.hpp"

namespace clinaug {

namespace detail {

static CLINAUG_HOST_DEVICE std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static CLINAUG_HOST_DEVICE float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace detail

static CLINAUG_HOST_DEVICE float widen(float value) { return value; }
static CLINAUG_HOST_DEVICE double widen(double value) { return value; }
static CLINAUG_HOST_DEVICE float widen(Bfloat16 value) { return detail::float_of(static_cast<std::uint32_t>(value.bits) << 16); }

static CLINAUG_HOST_DEVICE float widen(Half value) {
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
static CLINAUG_HOST_DEVICE Element narrow(Accumulator<Element> value) {
  if constexpr (std::is_same_v<Element, Bfloat16>) {
#if defined(__CUDA_ARCH__)
    return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
    const std::uint32_t bits = detail::bits_of(value);
    if (value != value) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
    return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
#endif
  } else if constexpr (std::is_same_v<Element, Half>) {
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

}  // namespace clinaug
