// How the lanes of a team, or the threads of a block, go over a run of elements: 16 bytes at a time, the rest one by one.
#pragma once

#include "common/host_device.hpp"
#include "residual_se/device/element.hpp"

namespace clinaug::se {

// `step` has load<N>(i), which fetches what N elements from i need, and use<N>(i, fetched). Several loads are under way before
// the first is used.
template <int kCount, int kBatch, class Step>
CLINAUG_HOST_DEVICE void stride(int begin, int count, int lane, int lanes, Step& step) {
  for (int first = lane; first < count; first += kBatch * lanes) {
    decltype(step.template load<kCount>(0)) fetched[kBatch];
    CLINAUG_UNROLL
    for (int k = 0; k < kBatch; ++k) {
      if (first + k * lanes < count) fetched[k] = step.template load<kCount>(begin + (first + k * lanes) * kCount);
    }
    CLINAUG_UNROLL
    for (int k = 0; k < kBatch; ++k) {
      if (first + k * lanes < count) step.template use<kCount>(begin + (first + k * lanes) * kCount, fetched[k]);
    }
  }
}

// Elements [begin, end) of a slice that begins `phase` elements after a 16-byte boundary; `vectors`: whether 16 bytes may be
// moved at once.
template <int kVector, int kBatch, class Step>
CLINAUG_HOST_DEVICE void walk(int begin, int end, int phase, bool vectors, int lane, int lanes, Step& step) {
  const int ahead = vectors ? -(phase + begin) & (kVector - 1) : end - begin;
  const int body = ahead < end - begin ? begin + ahead : end;
  const int count = (end - body) / kVector;
  stride<1, kBatch>(begin, body - begin, lane, lanes, step);
  stride<kVector, kBatch>(body, count, lane, lanes, step);
  stride<1, kBatch>(body + count * kVector, end - body - count * kVector, lane, lanes, step);
}

}  // namespace clinaug::se
