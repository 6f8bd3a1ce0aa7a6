// Inner product of two float32 rows of any length.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

float dot_f32(const float* a, const float* b, std::size_t depth) noexcept {
  using Reg = Vec::Reg;
  constexpr std::size_t kStep = Vec::kLanes;
  Reg sum0 = Vec::zero(), sum1 = Vec::zero(), sum2 = Vec::zero(), sum3 = Vec::zero();
  std::size_t i = 0;
  for (; i + 4 * kStep <= depth; i += 4 * kStep) {
    sum0 = Vec::fma(Vec::load(a + i), Vec::load(b + i), sum0);
    sum1 = Vec::fma(Vec::load(a + i + kStep), Vec::load(b + i + kStep), sum1);
    sum2 = Vec::fma(Vec::load(a + i + 2 * kStep), Vec::load(b + i + 2 * kStep), sum2);
    sum3 = Vec::fma(Vec::load(a + i + 3 * kStep), Vec::load(b + i + 3 * kStep), sum3);
  }
  for (; i + kStep <= depth; i += kStep) sum0 = Vec::fma(Vec::load(a + i), Vec::load(b + i), sum0);
  float tail = 0.0F;
  for (; i < depth; ++i) tail += a[i] * b[i];
  return Vec::sum(Vec::add(Vec::add(sum0, sum1), Vec::add(sum2, sum3))) + tail;
}

}  // namespace
}  // namespace fastembed
