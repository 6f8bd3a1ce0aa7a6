// The logistic function of an array.
#pragma once

#include "kernels/logistic.inl.hpp"

namespace fastembed {
namespace {

void sigmoid_f32(const float* x, std::size_t count, float* out) noexcept {
  Vec::Reg one_plus_e;
  std::size_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) Vec::store(out + i, sigmoid(Vec::load(x + i), one_plus_e));
  if (i < count) {
    float lanes[Vec::kLanes] = {};
    for (std::size_t j = i; j < count; ++j) lanes[j - i] = x[j];
    Vec::store(lanes, sigmoid(Vec::load(lanes), one_plus_e));
    for (std::size_t j = i; j < count; ++j) out[j] = lanes[j - i];
  }
}

}  // namespace
}  // namespace fastembed
