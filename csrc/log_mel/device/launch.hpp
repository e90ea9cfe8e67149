// The entry of the CUDA kernel, for code that sees no CUDA header.
#pragma once

#include "common/target.hpp"
#include "log_mel/device/plan.hpp"

namespace clinaug::device {

// Queues log_mel of x on the target's stream; addresses are of its device. Nothing is allocated or waited for.
void launch_log_mel(const Plan& plan, const Waveforms& x, void* out, bool half_out, const void* tables, const Target& target);

}  // namespace clinaug::device
