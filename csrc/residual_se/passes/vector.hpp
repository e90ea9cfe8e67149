// The vector types of one instruction set: CLINAUG_LANES floats, or half as many doubles.
//
// kernel.cpp and the headers it includes are compiled once per set, in the namespace CLINAUG_LANES_SET; see
// common/instruction_set.hpp for what that forbids.
#pragma once

#include <cstdint>
#include <utility>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "common/numbers.hpp"
#include "residual_se/passes/kernel.hpp"

namespace clinaug::se::CLINAUG_LANES_SET {

inline constexpr int kBytes = 4 * CLINAUG_LANES;

typedef std::uint16_t Halves __attribute__((vector_size(kBytes / 2)));
typedef std::uint32_t Words __attribute__((vector_size(kBytes)));
typedef float Floats __attribute__((vector_size(kBytes)));
typedef double Doubles __attribute__((vector_size(kBytes)));

template <class Real>
struct Lanes;

template <>
struct Lanes<float> {
  typedef Floats V;
  typedef std::int32_t Bits __attribute__((vector_size(kBytes)));
  static constexpr Index n = kBytes / 4;
};

template <>
struct Lanes<double> {
  typedef Doubles V;
  typedef std::int64_t Bits __attribute__((vector_size(kBytes)));
  static constexpr Index n = kBytes / 8;
};

template <class Real>
using Vector = typename Lanes<Real>::V;

// Vectors at any address.
typedef Floats AnyFloats __attribute__((aligned(4), may_alias));
typedef Doubles AnyDoubles __attribute__((aligned(8), may_alias));
typedef Halves AnyHalves __attribute__((aligned(2), may_alias));

static inline Floats load(const float* from) { return *reinterpret_cast<const AnyFloats*>(from); }
static inline Doubles load(const double* from) { return *reinterpret_cast<const AnyDoubles*>(from); }

// g++ 12 would take the halves of a vector one by one, and five instructions where one will do.
static inline Words load_words(const Bfloat16* from) {
#if defined(__AVX512F__) && CLINAUG_LANES == 16
  return reinterpret_cast<Words>(_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif defined(__AVX2__) && CLINAUG_LANES == 8
  return reinterpret_cast<Words>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#else
  return __builtin_convertvector(*reinterpret_cast<const AnyHalves*>(from), Words);
#endif
}
static inline Floats load(const Bfloat16* from) { return reinterpret_cast<Floats>(load_words(from) << 16); }

// Rounded to nearest, ties to even. A NaN stays one: rounding its bits could carry into the exponent.
static inline Halves to_bfloat16(Floats value) {
  const Words bits = reinterpret_cast<Words>(value);
  const Words rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return __builtin_convertvector((value == value ? rounded : (bits | 0x00400000)) >> 16, Halves);
}

static inline void store(float* to, Floats value) { *reinterpret_cast<AnyFloats*>(to) = value; }
static inline void store(double* to, Doubles value) { *reinterpret_cast<AnyDoubles*>(to) = value; }
static inline void store(Bfloat16* to, Floats value) { *reinterpret_cast<AnyHalves*>(to) = to_bfloat16(value); }

// Past the caches, to an address that is a multiple of the vector's size in memory.
template <class Bytes>
static inline void stream_bytes(void* to, Bytes value) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Bytes) == 64) return _mm512_stream_si512(static_cast<__m512i*>(to), reinterpret_cast<__m512i>(value));
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(Bytes) == 32) return _mm256_stream_si256(static_cast<__m256i*>(to), reinterpret_cast<__m256i>(value));
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(Bytes) == 16) return _mm_stream_si128(static_cast<__m128i*>(to), reinterpret_cast<__m128i>(value));
#endif
  __builtin_memcpy(to, &value, sizeof value);
}

static inline void stream(float* to, Floats value) { stream_bytes(to, value); }
static inline void stream(double* to, Doubles value) { stream_bytes(to, value); }
static inline void stream(Bfloat16* to, Floats value) { stream_bytes(to, to_bfloat16(value)); }

// Signs: bit i % 8 of byte i / 8 is set where element i is above zero or NaN. For vectors of whole bytes of them.
template <class Real>
inline constexpr bool kHasSigns = false;
#ifdef __AVX2__
template <>
inline constexpr bool kHasSigns<float> = true;

static inline void store_signs(std::uint8_t* signs, Index i, Floats value) {
#ifdef __AVX512F__
  const __mmask16 bits = _mm512_cmp_ps_mask(reinterpret_cast<__m512>(value), __m512{}, _CMP_NLE_UQ);
#else
  const int mask = _mm256_movemask_ps(_mm256_cmp_ps(reinterpret_cast<__m256>(value), __m256{}, _CMP_NLE_UQ));
  const auto bits = static_cast<std::uint8_t>(mask);
#endif
  __builtin_memcpy(signs + i / 8, &bits, sizeof bits);
}

// Where the bit of element i + lane is set `above`, else `other`.
static inline Floats by_signs(const std::uint8_t* signs, Index i, Floats above, Floats other) {
#ifdef __AVX512F__
  __mmask16 bits;
  __builtin_memcpy(&bits, signs + i / 8, sizeof bits);
  return reinterpret_cast<Floats>(_mm512_mask_blend_ps(bits, reinterpret_cast<__m512>(other), reinterpret_cast<__m512>(above)));
#else
  constexpr Words kBits = {1, 2, 4, 8, 16, 32, 64, 128};
  return ((Words{} + signs[i / 8]) & kBits) != 0 ? above : other;
#endif
}
#endif

// What was streamed is seen by other threads before what is stored after this.
static inline void finish_streams() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

static inline Index length_of(const Layout& layout, Index row) {
  return row + 1 == layout.rows ? layout.last_length : layout.length;
}

// The end of those that are not cut short.
static inline Index whole_rows(const Layout& layout, Rows rows) {
  return rows.end == layout.rows && layout.last_length != layout.length ? rows.end - 1 : rows.end;
}

// So many vectors of channels_last are worked on at once where rows are no longer: what they share stays in registers.
inline constexpr Index kChains = 8;

// n < lanes elements, the other lanes zero.
template <class T>
static inline Vector<Accumulator<T>> load_part(const T* from, Index n) {
  T part[Lanes<Accumulator<T>>::n] = {};
  for (Index i = 0; i < n; ++i) part[i] = from[i];
  return load(part);
}

template <class T>
static inline void store_part(T* to, Vector<Accumulator<T>> value, Index n) {
  T part[Lanes<Accumulator<T>>::n];
  store(part, value);
  for (Index i = 0; i < n; ++i) to[i] = part[i];
}

template <int half, class V, int... lane>
static inline V swap_halves(V value, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(value, value, (lane ^ half)...);
}

template <class Real, int half = Lanes<Real>::n / 2>
static inline Real sum_of_lanes(Vector<Real> value) {
  if constexpr (half == 0) return value[0];
  else return sum_of_lanes<Real, half / 2>(value + swap_halves<half>(value, std::make_integer_sequence<int, Lanes<Real>::n>{}));
}

// Lane i of the vector that is picked out of a and b for folding blocks of `block` lanes: of each block, its first or its
// `second` half.
constexpr int folded_lane(int i, int block, bool second) { return i / (block / 2) * block + (second ? block / 2 : 0) + i % (block / 2); }

template <int block, bool second, class V, int... lane>
static inline V pick_halves(V a, V b, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(a, b, folded_lane(lane, block, second)...);
}

// sum_of_lanes of as many vectors as a vector has lanes, in their order and to the same bits, in a fraction of the steps.
template <class Real, int block = Lanes<Real>::n>
static inline Vector<Real> sums_of_lanes(const Vector<Real>* values) {
  if constexpr (block == 1) {
    return values[0];
  } else {
    constexpr auto kLanes = std::make_integer_sequence<int, Lanes<Real>::n>{};
    Vector<Real> folded[block / 2];
    for (int i = 0; i < block / 2; ++i) {
      const Vector<Real> a = values[2 * i], b = values[2 * i + 1];
      folded[i] = pick_halves<block, false>(a, b, kLanes) + pick_halves<block, true>(a, b, kLanes);
    }
    return sums_of_lanes<Real, block / 2>(folded);
  }
}

// The value where `lane number >= first`, zero below.
template <class Real>
static inline Vector<Real> from_lane(Vector<Real> value, Index first) {
  typename Lanes<Real>::Bits number;
  for (int i = 0; i < Lanes<Real>::n; ++i) number[i] = i;
  const typename Lanes<Real>::Bits bound = typename Lanes<Real>::Bits{} + static_cast<int>(first);
  return number >= bound ? value : Vector<Real>{};
}

// e^x, to about one unit in the last place for float, in [e^-87, e^88]; NaN stays NaN.
static inline Floats exponential(Floats x) {
  x = x > 88.0f ? Floats{} + 88.0f : x;
  x = x < -87.0f ? Floats{} - 87.0f : x;
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which then lies in the low bits
  const Floats shifted = x * 1.44269504f + kRounder;
  const Floats n = shifted - kRounder;
  const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts: the first product is exact
  Floats p = r * 1.3888889e-3f + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Words scale = (reinterpret_cast<Words>(shifted) << 23) + 0x3f800000u;
  return p * reinterpret_cast<Floats>(scale);
}

static inline Doubles exponential(Doubles x) {
  for (int i = 0; i < Lanes<double>::n; ++i) x[i] = __builtin_exp(x[i]);
  return x;
}

}  // namespace clinaug::se::CLINAUG_LANES_SET
