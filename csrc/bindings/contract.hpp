// The mel contract, from Python's fields.
#pragma once

#include <pybind11/pybind11.h>

#include <map>
#include <string>

#include "log_mel/params.hpp"

namespace clinaug::bindings {

namespace py = pybind11;

template <class Enum>
Enum parse(const py::dict& contract, const char* field, const std::map<std::string, Enum>& names) {
  return names.at(contract[field].cast<std::string>());
}

// `contract` is MelConfig.model_dump(): checked already.
inline LogMelParams parse_params(const py::dict& contract) {
  LogMelParams params;
  params.sample_rate = contract["sample_rate"].cast<std::int64_t>();
  params.n_fft = contract["n_fft"].cast<std::int64_t>();
  params.win_length = contract["win_length"].cast<std::int64_t>();
  params.hop_length = contract["hop_length"].cast<std::int64_t>();
  params.window = parse<Window>(contract, "window",
                                {{"hann", Window::hann}, {"hamming", Window::hamming}, {"blackman", Window::blackman}, {"boxcar", Window::boxcar}});
  params.n_mels = contract["n_mels"].cast<std::int64_t>();
  params.f_min = contract["f_min"].cast<double>();
  params.f_max = contract["f_max"].cast<double>();
  params.mel_scale = parse<MelScale>(contract, "mel_scale", {{"slaney", MelScale::slaney}, {"htk", MelScale::htk}});
  params.norm = parse<FilterNorm>(contract, "norm", {{"none", FilterNorm::none}, {"slaney", FilterNorm::slaney}});
  params.power = contract["power"].cast<int>();
  params.center = contract["center"].cast<bool>();
  params.pad_mode = parse<PadMode>(contract, "pad_mode", {{"reflect", PadMode::reflect}, {"constant", PadMode::constant}, {"edge", PadMode::edge}});
  params.log = parse<LogKind>(contract, "log", {{"ln", LogKind::ln}, {"log10", LogKind::log10}, {"db", LogKind::db}});
  params.floor = contract["floor"].cast<double>();
  return params;
}

}  // namespace clinaug::bindings
