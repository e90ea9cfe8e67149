// The vector type of one instruction set: CLINAUG_LANES floats, one frame a lane.
//
// kernel.cpp and the headers it includes are compiled once per set, in the namespace CLINAUG_LANES_SET. They call no
// inline function from outside it: the linker would keep one copy for all sets, perhaps that of the widest.
#pragma once

#include <cstdint>

// Codelets stay functions: inlined in a loop, their many addresses become as many spilled induction variables.
#define CLINAUG_CODELET __attribute__((noinline))

namespace clinaug::lanes::CLINAUG_LANES_SET {

inline constexpr int kLanes = CLINAUG_LANES;

typedef float V __attribute__((vector_size(4 * CLINAUG_LANES)));
typedef std::int32_t IntV __attribute__((vector_size(4 * CLINAUG_LANES)));
typedef std::int16_t ShortV __attribute__((vector_size(2 * CLINAUG_LANES)));

typedef V UnalignedV __attribute__((aligned(4), may_alias));
typedef ShortV UnalignedShortV __attribute__((aligned(2), may_alias));

static inline V load(const float* from) { return *reinterpret_cast<const UnalignedV*>(from); }

// PCM: full scale is 1.
static inline V load(const std::int16_t* from) {
  return __builtin_convertvector(*reinterpret_cast<const UnalignedShortV*>(from), V) * (1.0f / 32768.0f);
}

static inline void store(float* to, V value) { *reinterpret_cast<UnalignedV*>(to) = value; }

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
