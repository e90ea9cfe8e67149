// Clips of one length, and where their log-mels go.
#pragma once

#include "common/view.hpp"
#include "log_mel/lanes/tables.hpp"

namespace clinaug::lanes {

template <class In, class Out>
struct Clips {
  View<const In, 2> x;
  View<Out, 3> out;
  Index n;                      // of them
  const Index* rows = nullptr;  // which of x and out they are; null: all, in order

  Index n_samples() const { return x.extent[1]; }
  Index n_frames() const { return out.extent[2]; }
  const In* samples(Index clip) const { return x.data + row(clip) * x.stride[0]; }
  Out* log_mels(Index clip) const { return out.data + row(clip) * out.stride[0]; }

 private:
  Index row(Index clip) const { return rows == nullptr ? clip : rows[clip]; }
};

}  // namespace clinaug::lanes
