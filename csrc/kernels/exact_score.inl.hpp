// The sums that define a score: float64, in sixteen lanes and a fixed order, the same bits on every tier. Needs
// -ffp-contract=off: a fused multiply-add would round the squares of differences once less.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

template <class Add>
[[gnu::always_inline]] inline double exact_sum(const float* a, const float* b, std::size_t depth,
                                               const Add& add) noexcept {
  Sums16 sums;
  std::size_t i = 0;
  for (; i + 16 <= depth; i += 16) add(sums, a + i, b + i);
  if (i < depth) {  // zeros add +0.0 to their lanes, which changes nothing
    float rest_a[16] = {}, rest_b[16] = {};
    for (std::size_t j = 0; i + j < depth; ++j) {
      rest_a[j] = a[i + j];
      rest_b[j] = b[i + j];
    }
    add(sums, rest_a, rest_b);
  }
  double lanes[16];
  sums.store(lanes);
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  return lanes[0];
}

double exact_dot_f32(const float* a, const float* b, std::size_t depth) noexcept {
  return exact_sum(a, b, depth, [](Sums16& sums, const float* x, const float* y) { sums.add_products(x, y); });
}

double exact_squared_distance_f32(const float* a, const float* b, std::size_t depth) noexcept {
  return exact_sum(a, b, depth,
                   [](Sums16& sums, const float* x, const float* y) { sums.add_squared_differences(x, y); });
}

}  // namespace
}  // namespace fastembed
