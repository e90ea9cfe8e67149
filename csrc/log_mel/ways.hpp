// The tables of each way to compute a frame, made when they are first needed.
#pragma once

#include <memory>
#include <mutex>
#include <type_traits>

#include "log_mel/lanes/dispatch.hpp"
#include "log_mel/lanes/lanes_plan.hpp"
#include "log_mel/params.hpp"

namespace clinaug {

// Doubles, in or out, take double precision throughout.
template <class In, class Out>
inline constexpr bool kMaySingle = !std::is_same_v<In, double> && !std::is_same_v<Out, double>;

class Ways {
 public:
  Ways(const LogMelParams& params, InstructionSet instruction_set) : params_(params), instruction_set_(instruction_set) {}

  const LogMelParams& params() const { return params_; }

  // Calls use(plan) with the plan of that way.
  template <class In, class Out, class Use>
  void with(lanes::Way way, const Use& use) const {
    if constexpr (kMaySingle<In, Out>) {
      if (way == lanes::Way::plain) return use(plain());
      if (way == lanes::Way::emphasised) return use(ready(emphasised_, lanes::kEmphasis));
    }
    use(ready(full_, 0.0));
  }

  const lanes::LanesPlan<float>& plain() const { return ready(plain_, 0.0); }

 private:
  template <class Real>
  struct Tables {
    std::once_flag made;
    std::unique_ptr<lanes::LanesPlan<Real>> plan;
  };

  template <class Real>
  const lanes::LanesPlan<Real>& ready(Tables<Real>& tables, double emphasis) const {
    std::call_once(tables.made, [&] {
      tables.plan = std::make_unique<lanes::LanesPlan<Real>>(params_, lanes::kernel_of<Real>(instruction_set_),
                                                             lanes::half_kernel_of<Real>(instruction_set_), emphasis);
    });
    return *tables.plan;
  }

  LogMelParams params_;
  InstructionSet instruction_set_;
  mutable Tables<float> plain_, emphasised_;
  mutable Tables<double> full_;
};

}  // namespace clinaug
