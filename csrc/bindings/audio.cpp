#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "audio/samples.hpp"
#include "audio/wav.hpp"
#include "audio/wav_log_mel.hpp"
#include "bindings/bindings.hpp"
#include "bindings/buffers.hpp"
#include "bindings/owned.hpp"
#include "bindings/paths.hpp"
#include "bindings/without_gil.hpp"

namespace clinaug::bindings {
namespace {

py::tuple as_tuple(const Level& level) {
  return py::make_tuple(level.n, level.peak, level.clipped, level.square_sum, level.silent);
}

double seconds_or_nan(const py::handle& seconds) {
  return seconds.is_none() ? std::numeric_limits<double>::quiet_NaN() : seconds.cast<double>();
}

// `segments` is None, or has a (start, end) for each path.
py::tuple run(const LogMelPlan& plan, const py::list& paths, const py::object& segments, std::int64_t length, std::int64_t stride,
              bool tile, double min_seconds, double max_seconds, double quiet_ratio) {
  if (length < 1 || stride < 1) throw std::invalid_argument("wav_log_mel: length and stride are at least 1");
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::vector<WavRequest> files;
  for (const py::handle& path : paths) files.push_back({path_bytes(path), kNone, kNone});
  if (!segments.is_none()) {
    const auto times = segments.cast<py::list>();
    if (times.size() != files.size()) throw std::invalid_argument("wav_log_mel: expected a segment for each path");
    for (std::size_t i = 0; i < files.size(); ++i) {
      const auto segment = times[i].cast<py::tuple>();
      files[i].start_s = seconds_or_nan(segment[0]);
      files[i].end_s = seconds_or_nan(segment[1]);
    }
  }
  WavBatch batch;
  {
    WithoutGil released;
    batch = wav_log_mel(plan, {length, stride, tile, min_seconds, max_seconds, quiet_ratio}, files);
  }
  py::dict not_taken;
  for (const auto& [number, reason] : batch.not_taken) not_taken[py::int_(number)] = reason;
  const py::bytes measured(reinterpret_cast<const char*>(batch.files.data()), batch.files.size() * sizeof(WavClips));
  return py::make_tuple(Owned<float>{std::move(batch.mels)}, measured, Owned<std::int64_t>{std::move(batch.numbers)}, not_taken,
                        batch.read_ns, batch.mel_ns);
}

// (samples, rate, channels, level), or the reason why not.
py::object read(const py::object& path, const py::object& start_s, const py::object& end_s) {
  const double start = seconds_or_nan(start_s), end = seconds_or_nan(end_s);
  const std::string name = path_bytes(path);
  Wav wav;
  Level level;
  std::variant<Fresh<std::int16_t>, Fresh<float>> mono;
  try {
    WithoutGil released;
    // Memory that a file leaves to the next one on this thread: fresh pages cost as much as reading into them.
    thread_local Fresh<std::byte> bytes;
    if (bytes.capacity() > kLargeFile) Fresh<std::byte>().swap(bytes);
    read_wav_bytes(name, {!std::isnan(start) || !std::isnan(end), 0, kLargestRiff}, bytes);
    wav = parse_wav(bytes);
    Fresh<float> converted;
    std::visit(
        [&](auto samples) {
          level = measure_level(wav, samples);
          if (wav.channels == 1) {
            using T = typename decltype(samples)::value_type;
            mono = Fresh<T>(samples.begin(), samples.end());
          } else {
            mix_to_mono(samples, wav.channels, mono.emplace<Fresh<float>>());
          }
        },
        interleaved(wav, find_segment(wav, start, end), converted));
  } catch (const NotPlain& reason) {
    return py::str(reason.what());
  }
  return std::visit(
      [&](auto& values) -> py::object {
        using T = typename std::decay_t<decltype(values)>::value_type;
        return py::make_tuple(Owned<T>{std::move(values)}, wav.rate, wav.channels, as_tuple(level));
      },
      mono);
}

// `samples` is (n,), dense; `clipped_from` is for floats.
py::tuple level(const py::object& samples, float clipped_from) {
  const Buffer from = as_buffer(samples);
  const auto measure = [](const auto& view, auto... limit) {
    if (view.extent[0] > 1 && view.stride[0] != 1) throw std::invalid_argument("level: samples lie apart; expected dense ones");
    WithoutGil released;
    return measure_level(std::span(view.data, static_cast<std::size_t>(view.extent[0])), limit...);
  };
  if (from.dtype == "int16") return as_tuple(measure(as_view<const std::int16_t, 1>(from)));
  if (from.dtype == "float32") return as_tuple(measure(as_view<const float, 1>(from), clipped_from));
  throw std::invalid_argument("level: samples are " + from.dtype + "; expected int16 or float32");
}

void energy(const py::object& windows, const py::object& out) {
  const Buffer from = as_buffer(windows);
  const auto to = as_view<double, 1>(as_buffer(out));
  const auto compute = [&](const auto& view) {
    if (to.extent[0] != view.extent[0]) throw std::invalid_argument("window_energy: out does not have the shape (windows,)");
    WithoutGil released;
    window_energy(view, to.data);
  };
  if (from.dtype == "int16") return compute(as_view<const std::int16_t, 2>(from));
  if (from.dtype == "float32") return compute(as_view<const float, 2>(from));
  throw std::invalid_argument("window_energy: windows are " + from.dtype + "; expected int16 or float32");
}

}  // namespace

void bind_audio(py::module_& module) {
  bind_owned<float>(module, "Floats");
  bind_owned<std::int16_t>(module, "Int16s");
  module.attr("segment_overhang_s") = kOverhang;
  module.attr("loudest") = kLoudest;
  module.attr("clipped_from") = kClippedFrom;
  module.attr("large_wav_bytes") = kLargeFile;
  module.def("wav_log_mel", &run, py::arg("plan"), py::arg("paths"), py::arg("segments"), py::arg("length"), py::arg("stride"),
             py::arg("tile"), py::arg("min_seconds"), py::arg("max_seconds"), py::arg("quiet_ratio"),
             "Plain WAV files to log-mels: (mels, measured, numbers, not_taken, read_ns, mel_ns)");
  module.def("read_wav", &read, py::arg("path"), py::arg("start_s"), py::arg("end_s"),
             "(mono samples, rate, channels, level) of a plain WAV file, or the reason why it is not one");
  module.def("level", &level, py::arg("samples"), py::arg("clipped_from"), "(n, peak, clipped, square_sum, silent) of a dense (n,) buffer");
  module.def("window_energy", &energy, py::arg("windows"), py::arg("out"), "mean square of each row of (n, length) into (n,) float64");
}

}  // namespace clinaug::bindings
