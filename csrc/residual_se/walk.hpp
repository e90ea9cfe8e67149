// How the work is cut: samples, and slabs of a sample where there are fewer samples than threads want.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/parallel.hpp"
#include "residual_se/residual_se.hpp"
#include "residual_se/weights.hpp"

namespace clinaug::se {

// A thread costs some tens of microseconds; it pays from about this many elements.
inline constexpr Index kElementsWorthAThread = 1 << 17;
inline constexpr Index kSlab = 1 << 16;  // elements, more where a row is longer

inline Layout make_layout(const ResidualSeParams& params, Index lanes) {
  Layout layout;
  layout.channels = params.channels;
  layout.gate_per_element = params.channels_last || params.spatial == 1;
  if (!layout.gate_per_element) {
    layout.rows = params.channels;
    layout.length = layout.last_length = params.spatial;
    return layout;
  }
  layout.folds = lanes / std::gcd(params.channels, lanes);
  layout.length = layout.folds * params.channels;
  layout.rows = (params.spatial + layout.folds - 1) / layout.folds;
  layout.last_length = (params.spatial - (layout.rows - 1) * layout.folds) * params.channels;
  return layout;
}

template <class Real>
Act<Real> make_act(const ResidualSeParams& params) {
  Act<Real> act;
  act.bends = params.activation != Activation::none;
  act.keeps = params.activation != Activation::relu;
  act.slope = params.activation == Activation::leaky_relu ? static_cast<Real>(params.slope) : Real{1};
  return act;
}

// Equal parts of a sample, of whole rows; fixed by the shape, as sums of parts are added in their order.
class Slabs {
 public:
  explicit Slabs(const Layout& layout)
      : rows_(layout.rows), rows_each_((std::max<Index>(kSlab / layout.length, 1) + 3) / 4 * 4), count_((rows_ + rows_each_ - 1) / rows_each_) {}

  Index count() const { return count_; }
  Rows operator[](Index slab) const { return {slab * rows_each_, std::min((slab + 1) * rows_each_, rows_)}; }

 private:
  Index rows_, rows_each_, count_;
};

// The numbers of one sample between the passes.
template <class Real>
struct SampleState {
  std::vector<Real> partial;  // (slabs, channels) sums, of channels_last; (channels) of NCHW
  std::vector<Real> mean, hidden, gate, shift;
  std::vector<Real> gate_row, shift_row;  // repeated over Layout::length

  void fit(const Layout& layout, Index slabs, Index n_hidden) {
    partial.resize(layout.gate_per_element ? slabs * layout.channels : layout.channels);
    for (auto* row : {&mean, &gate, &shift}) row->resize(padded(layout.channels));
    hidden.assign(padded(n_hidden), Real{0});
    if (layout.gate_per_element) {
      gate_row.resize(layout.length);
      shift_row.resize(layout.length);
    }
  }

  Real* partial_of(const Layout& layout, Index slab) { return partial.data() + (layout.gate_per_element ? slab * layout.channels : 0); }

  // Sums over all slabs, times scale.
  void total(const Layout& layout, Index slabs, Real scale, std::vector<Real>& out) const {
    std::copy_n(partial.begin(), layout.channels, out.begin());
    for (Index slab = 1; layout.gate_per_element && slab < slabs; ++slab) {
      for (Index c = 0; c < layout.channels; ++c) out[c] += partial[slab * layout.channels + c];
    }
    for (Index c = 0; c < layout.channels; ++c) out[c] *= scale;
    std::fill(out.begin() + layout.channels, out.end(), Real{0});
  }
};

// One number a channel as a row of pixels, where a pass takes one an element.
template <class Real>
void repeat(const Layout& layout, const std::vector<Real>& values, std::vector<Real>& row) {
  if (!layout.gate_per_element) return;
  for (Index fold = 0; fold < layout.folds; ++fold) std::copy_n(values.begin(), layout.channels, row.begin() + fold * layout.channels);
}

// For each sample b: squeeze(b, slab, state) for all its slabs, between(b, state), excite(b, slab, state, next) for all its slabs;
// next: the sample that this thread squeezes right after, else b itself.
// A sample is done by one thread while it is in the cache, or its slabs by all threads where samples are few and large.
template <class Real, class Squeeze, class Between, class Excite>
void walk(const ResidualSeParams& params, const Layout& layout, const Slabs& slabs, std::int64_t threads, const Squeeze& squeeze,
          const Between& between, const Excite& excite) {
  const Index sample = params.channels * params.spatial;
  const Index workers = std::min<Index>(threads, params.batch * sample / kElementsWorthAThread);
  if (workers > 1 && params.batch % workers != 0 && params.batch < 4 * workers && slabs.count() > 1) {
    std::vector<SampleState<Real>> states(params.batch);
    for (auto& state : states) state.fit(layout, slabs.count(), params.hidden);
    const Index parts = params.batch * slabs.count();
    const auto all = [&](const auto& pass) {
      parallel_for(parts, workers, 1, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) pass(i / slabs.count(), i % slabs.count(), states[i / slabs.count()]);
      });
    };
    all(squeeze);
    for (Index b = 0; b < params.batch; ++b) between(b, states[b]);
    all([&](Index b, Index slab, SampleState<Real>& state) { excite(b, slab, state, b); });
    return;
  }
  parallel_for(params.batch, workers, 1, [&](Index begin, Index end) {
    thread_local SampleState<Real> state;
    state.fit(layout, slabs.count(), params.hidden);
    for (Index b = begin; b < end; ++b) {
      for (Index slab = 0; slab < slabs.count(); ++slab) squeeze(b, slab, state);
      between(b, state);
      // From the last slab back, which is still in the cache where the first is not; within a slab forwards, as the processor
      // looks ahead.
      for (Index slab = slabs.count() - 1; slab >= 0; --slab) excite(b, slab, state, slab == 0 && b + 1 < end ? b + 1 : b);
    }
  });
}

// Scratch of Layout::length numbers for the sums of channels_last.
template <class Real>
Real* row_scratch(const Layout& layout) {
  thread_local std::vector<Real> row;
  row.resize(layout.gate_per_element ? layout.length : 0);
  return row.data();
}

// A store to memory that is not in the cache reads it first; a large output bypasses the caches instead. That of forward is
// read again where backward follows, so it bypasses them only where it would not have stayed. Found by measuring.
inline constexpr Index kStreamBytes = Index{4} << 20;
inline constexpr Index kStreamBytesOfRead = Index{8} << 20;

template <class T>
bool may_stream(const ResidualSeParams& params, const Layout& layout, const Kernel<T>& kernel, const T* out, Index from_bytes) {
  const Index bytes = params.batch * params.channels * params.spatial * static_cast<Index>(sizeof(T));
  const Index row = layout.length * static_cast<Index>(sizeof(T));
  return bytes >= from_bytes && layout.last_length == layout.length && row % kernel.stream_bytes == 0 &&
         reinterpret_cast<std::uintptr_t>(out) % kernel.stream_bytes == 0;
}

// While gradients that bypass the caches are written, the slab that is squeezed next is fetched, so that reads and writes overlap: where
// two slabs of the output's gradient and one of x have room in the second-level cache. Found by measuring.
inline constexpr Index kFetchedBytes = Index{256} << 10;

template <class T>
bool may_fetch(const Layout& layout, const Slabs& slabs) {
  return slabs[0].end * layout.length * static_cast<Index>(sizeof(T)) <= kFetchedBytes;
}

// Forward keeps a bit an element for backward, which then need not read y: where rows are whole vectors. A byte behind the
// bits tells whether it has, and in which memory order.
enum class KeptSigns : std::uint8_t { none, nchw, channels_last };

template <class T>
KeptSigns kept_signs(const ResidualSeParams& params, const Layout& layout, const Kernel<T>& kernel) {
  if (params.activation == Activation::none || kernel.sign_lanes == 0) return KeptSigns::none;
  if (layout.last_length != layout.length || layout.length % kernel.sign_lanes != 0) return KeptSigns::none;
  return params.channels_last ? KeptSigns::channels_last : KeptSigns::nchw;
}

inline Index sign_bytes(const ResidualSeParams& params) { return (params.batch * params.channels * params.spatial + 7) / 8; }

}  // namespace clinaug::se
