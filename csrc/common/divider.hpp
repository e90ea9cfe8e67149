// Division by a number that is known before a kernel starts: a multiplication and a shift.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace clinaug {

// Division of n < 2^31 by a constant: with 2^(l-1) < d <= 2^l and m = ceil(2^(31+l) / d), m d exceeds 2^(31+l) by less than
// 2^l, so n m / 2^(31+l) has the floor of n / d (Granlund and Montgomery 1994).
struct Divider {
  std::uint32_t divisor = 1;
  std::uint32_t factor = 1u << 31;
  std::uint32_t shift = 31;

  Divider() = default;
  explicit Divider(std::int64_t by) {  // a larger divisor than any n gives zero, as 2^31 does
    divisor = static_cast<std::uint32_t>(by < (std::int64_t{1} << 31) ? by : std::int64_t{1} << 31);
    std::uint32_t log = 0;
    while ((std::uint64_t{1} << log) < divisor) ++log;
    shift = 31 + log;
    factor = static_cast<std::uint32_t>(((std::uint64_t{1} << shift) + divisor - 1) / divisor);
  }

  CLINAUG_HOST_DEVICE int quotient(int n) const {
    return static_cast<int>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(n)) * factor >> shift);
  }
  CLINAUG_HOST_DEVICE int remainder(int n) const { return n - static_cast<int>(quotient(n) * divisor); }
};

}  // namespace clinaug
