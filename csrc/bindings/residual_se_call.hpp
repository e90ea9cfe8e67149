// The calls of residual_se on a device as Python makes them: numbers in tuples, addresses as integers, 0 for none. The kernels
// and the tests that run their phases on the CPU take the same.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <map>
#include <string>

#include "residual_se/residual_se_cuda.hpp"

namespace clinaug::bindings {

// (batch, channels, hidden, height * width, channels_last, dtype, relu, slope, device, stream)
inline se::CudaCall as_cuda_call(const pybind11::tuple& given) {
  static const std::map<std::string, se::DType> kTypes = {{"float32", se::DType::float32},
                                                          {"float64", se::DType::float64},
                                                          {"bfloat16", se::DType::bfloat16},
                                                          {"float16", se::DType::float16}};
  se::CudaCall call;
  call.batch = given[0].cast<std::int64_t>(), call.channels = given[1].cast<std::int64_t>();
  call.hidden = given[2].cast<std::int64_t>(), call.spatial = given[3].cast<std::int64_t>();
  call.channels_last = given[4].cast<bool>();
  call.element = kTypes.at(given[5].cast<std::string>());
  call.relu = given[6].cast<bool>(), call.slope = given[7].cast<double>();
  call.target = {given[8].cast<int>(), given[9].cast<std::uintptr_t>()};
  return call;
}

inline void* as_address(const pybind11::handle& given) { return reinterpret_cast<void*>(given.cast<std::uintptr_t>()); }

// (x, w1, b1, w2, b2, skip, y, mean, hidden, gate, scratch)
inline se::ForwardAddresses as_forward(const pybind11::tuple& at) {
  return {as_address(at[0]), as_address(at[1]), as_address(at[2]), as_address(at[3]), as_address(at[4]), as_address(at[5]),
          as_address(at[6]), as_address(at[7]), as_address(at[8]), as_address(at[9]), as_address(at[10])};
}

// (grad_y, x, y, w1, w2, mean, hidden, gate,
//  grad_x, grad_skip, grad_w1, grad_b1, grad_w2, grad_b2, grad_logit, grad_hidden, scratch)
inline se::BackwardAddresses as_backward(const pybind11::tuple& at) {
  return {as_address(at[0]),  as_address(at[1]),  as_address(at[2]),  as_address(at[3]),  as_address(at[4]),  as_address(at[5]),
          as_address(at[6]),  as_address(at[7]),  as_address(at[8]),  as_address(at[9]),  as_address(at[10]), as_address(at[11]),
          as_address(at[12]), as_address(at[13]), as_address(at[14]), as_address(at[15]), as_address(at[16])};
}

}  // namespace clinaug::bindings
