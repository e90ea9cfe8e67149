// The vector type of one instruction set and precision: CLINAUG_LANES numbers of type CLINAUG_REAL, one frame a lane.
//
// kernel.cpp and the headers it includes are compiled once per set and precision, in the namespace CLINAUG_LANES_SET. They
// call no inline function from outside it: the linker would keep one copy for all sets, perhaps that of the widest.
#pragma once

#include <cstdint>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "log_mel/lanes/tables.hpp"

// Codelets stay functions: inlined in a loop, their many addresses become as many spilled induction variables.
#define CLINAUG_CODELET __attribute__((noinline))

namespace clinaug::lanes::CLINAUG_LANES_SET {

inline constexpr int kLanes = CLINAUG_LANES;

using Real = CLINAUG_REAL;
inline constexpr bool kSingle = sizeof(Real) == sizeof(float);
using Pass = lanes::Pass<Real>;
using Transform = lanes::Transform<Real>;
using Source = lanes::Source<Real>;
using Chirp = lanes::Chirp<Real>;
using Mel = lanes::Mel<Real>;
using Doubt = lanes::Doubt<Real>;
using Tables = lanes::Tables<Real>;
using Scratch = lanes::Scratch<Real>;
using lanes::Group;
using lanes::Way;
template <class Out>
using Tile = lanes::Tile<Real, Out>;
using Kernel = lanes::Kernel<Real>;

typedef float SingleV __attribute__((vector_size(4 * CLINAUG_LANES)));
typedef double DoubleV __attribute__((vector_size(8 * CLINAUG_LANES)));
typedef std::int16_t ShortV __attribute__((vector_size(2 * CLINAUG_LANES)));
typedef std::int32_t IntV __attribute__((vector_size(4 * CLINAUG_LANES)));
typedef std::int64_t LongV __attribute__((vector_size(8 * CLINAUG_LANES)));
typedef std::uint64_t UnsignedLongV __attribute__((vector_size(8 * CLINAUG_LANES)));
typedef Real V __attribute__((vector_size(sizeof(Real) * CLINAUG_LANES)));

typedef SingleV UnalignedSingleV __attribute__((aligned(4), may_alias));
typedef DoubleV UnalignedDoubleV __attribute__((aligned(8), may_alias));
typedef ShortV UnalignedShortV __attribute__((aligned(2), may_alias));
typedef V UnalignedV __attribute__((aligned(sizeof(Real)), may_alias));

static inline V load(const Real* from) { return *reinterpret_cast<const UnalignedV*>(from); }

// Where a number becomes twice as long, g++ 12 would take a vector's halves one by one, and five instructions where one will do.
static inline IntV load_longer(const std::int16_t* from) {
#if defined(__AVX512F__) && CLINAUG_LANES == 16
  return reinterpret_cast<IntV>(_mm512_maskz_cvtepi16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif defined(__AVX2__) && CLINAUG_LANES == 8
  return reinterpret_cast<IntV>(_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__AVX2__) && CLINAUG_LANES == 4
  return reinterpret_cast<IntV>(_mm_cvtepi16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#else
  return __builtin_convertvector(*reinterpret_cast<const UnalignedShortV*>(from), IntV);
#endif
}
static inline DoubleV longer(SingleV value) {
#if defined(__AVX512F__) && CLINAUG_LANES == 8
  return reinterpret_cast<DoubleV>(_mm512_maskz_cvtps_pd(0xff, reinterpret_cast<__m256>(value)));
#elif defined(__AVX2__) && CLINAUG_LANES == 4
  return reinterpret_cast<DoubleV>(_mm256_cvtps_pd(reinterpret_cast<__m128>(value)));
#else
  return __builtin_convertvector(value, DoubleV);
#endif
}

// Samples, as floats where these hold them. PCM: full scale is 1.
static inline SingleV load_samples(const float* from) { return *reinterpret_cast<const UnalignedSingleV*>(from); }
static inline DoubleV load_samples(const double* from) { return *reinterpret_cast<const UnalignedDoubleV*>(from); }
static inline SingleV load_samples(const std::int16_t* from) {
  return __builtin_convertvector(load_longer(from), SingleV) * (1.0f / 32768.0f);
}

static inline void store(float* to, SingleV value) { *reinterpret_cast<UnalignedSingleV*>(to) = value; }
static inline void store(double* to, DoubleV value) { *reinterpret_cast<UnalignedDoubleV*>(to) = value; }
static inline void store(double* to, SingleV value) { store(to, longer(value)); }

// All lanes alike. AMD's processors broadcast integers in the load unit alone, floats in the units that compute as well.
static inline SingleV splat(const float* from) {
  if constexpr (kLanes < 8) return SingleV{} + *from;
  std::int32_t bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return reinterpret_cast<SingleV>(IntV{} + bits);
}
static inline DoubleV splat(const double* from) {
  std::int64_t bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return reinterpret_cast<DoubleV>(LongV{} + bits);
}

// Two neighbours, each in all lanes.
struct Pair {
  V first, second;
};
static inline Pair splat_pair(const Real* from) { return {splat(from), splat(from + 1)}; }

// The same with one load instead of two, for where vectors of 512 bits come as fast as they can be loaded.
static inline Pair splat_pair_by_one_load(const Real* from) {
#if defined(__has_builtin) && CLINAUG_LANES == 16
#if __has_builtin(__builtin_shuffle)
  if constexpr (kSingle) {
    std::int64_t bits;
    __builtin_memcpy(&bits, from, sizeof bits);
    typedef std::int64_t Pairs __attribute__((vector_size(sizeof(V))));
    const V pairs = reinterpret_cast<V>(Pairs{} + bits);
    constexpr IntV kFirst = {0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14};
    return {__builtin_shuffle(pairs, kFirst), __builtin_shuffle(pairs, kFirst + 1)};
  }
#endif
#endif
  return splat_pair(from);
}

// Where the constants of a codelet lie, out of the compiler's sight: it would broadcast what it knows as floats.
static inline const Real* hidden(const Real* constants) {
  asm("" : "+r"(constants));
  return constants;
}

// `value`, which also lies at `place`; read from there where registers are many enough that it stays in one.
static inline auto constant([[maybe_unused]] Real value, [[maybe_unused]] const Real* place) {
  if constexpr (sizeof(V) < 64) return value;
  else return splat(place);
}

// Of a comparison; lane by lane, it would take as many extractions.
template <class Mask>
static inline bool holds_in_all_lanes(Mask mask) {
  std::uint64_t parts[sizeof mask / sizeof(std::uint64_t)], all = ~std::uint64_t{0};
  __builtin_memcpy(parts, &mask, sizeof mask);
  for (const std::uint64_t part : parts) all &= part;
  return all == ~std::uint64_t{0};
}

// In a register, where there are enough: the compiler would load an operand of two products twice.
static inline V loaded_once(V value) {
#ifdef __AVX512F__
  asm("" : "+v"(value));
#endif
  return value;
}

// A product that stays one, though sums are made of it: a multiplication less for an addition more in each.
static inline V unfused(V product) {
#ifdef __FMA__
  asm("" : "+v"(product));
#endif
  return product;
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
