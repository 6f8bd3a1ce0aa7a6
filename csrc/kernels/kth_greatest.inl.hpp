// The k-th greatest of a few floats, without a branch that depends on them: bisection over the ordered bit patterns.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// Orders bit patterns as the floats are: -infinity first.
[[gnu::always_inline]] inline std::uint32_t float_order(float value) noexcept {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
[[gnu::always_inline]] inline float ordered_float(std::uint32_t order) noexcept {
  return __builtin_bit_cast(float, (order & 0x80000000U) != 0 ? order & 0x7fffffffU : ~order);
}

float kth_greatest_f32(const float* values, std::size_t count, std::size_t k) noexcept {
  // At least k values reach `low`; fewer reach `high`.
  std::uint32_t low = float_order(-__builtin_inff()), high = float_order(__builtin_inff()) + 1;
  while (high - low > 1) {
    const std::uint32_t middle = low + (high - low) / 2;
    const Vec::Reg pivot = Vec::broadcast(ordered_float(middle));
    std::size_t reached = 0;
    for (std::size_t i = 0; i < count; i += Vec::kLanes) {
      reached += static_cast<std::size_t>(__builtin_popcount(Vec::at_least(Vec::load(values + i), pivot)));
    }
    (reached >= k ? low : high) = middle;
    if (reached == k) break;
  }
  // The least of those that reach `low`: the k-th, or one that ties with it.
  const float least = ordered_float(low);
  float found = __builtin_inff();
  for (std::size_t i = 0; i < count; ++i) {
    const float value = values[i] >= least ? values[i] : __builtin_inff();
    found = value < found ? value : found;
  }
  return found;
}

}  // namespace
}  // namespace fastembed
