#include <cstdint>

#include "log_mel/device/kernel.cuh"
#include "log_mel/device/launch.hpp"

namespace clinaug::device {

void launch_log_mel(const Plan& plan, const Waveforms& x, void* out, bool half_out, const void* tables, const Target& target) {
  const Call call = plan.call(x, out, half_out, tables);
  if (call.n_tiles == 0) return;
  with_size(plan.params().n_fft, [&](auto size) {
    using S = decltype(size);
    x.int16 ? launch<S, std::int16_t>(call, target) : launch<S, float>(call, target);
  });
}

}  // namespace clinaug::device
