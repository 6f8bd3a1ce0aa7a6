// The sums that define a score: float64, in sixteen lanes and a fixed order, the same bits on every tier. Needs
// -ffp-contract=off: a fused multiply-add would round the squares of differences once less.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// Calls add(a + i, b + i) for blocks of 16 elements, the last one filled up with zeros: they add +0.0 to their lanes,
// which changes nothing.
template <class Add>
[[gnu::always_inline]] inline void for_blocks(const float* a, const float* b, std::size_t depth,
                                              const Add& add) noexcept {
  std::size_t i = 0;
  for (; i + 16 <= depth; i += 16) add(a + i, b + i);
  if (i == depth) return;
  float rest_a[16] = {}, rest_b[16] = {};
  for (std::size_t j = 0; i + j < depth; ++j) {
    rest_a[j] = a[i + j];
    rest_b[j] = b[i + j];
  }
  add(rest_a, rest_b);
}

double exact_dot_f32(const float* a, const float* b, std::size_t depth) noexcept {
  Sums16 sums;
  for_blocks(a, b, depth, [&](const float* x, const float* y) { sums.add_products(x, y); });
  return sums.total();
}

double exact_dot_and_square_f32(const float* a, const float* b, std::size_t depth, double* b_square) noexcept {
  Sums16 sums, squares;
  for_blocks(a, b, depth, [&](const float* x, const float* y) {
    sums.add_products(x, y);
    squares.add_products(y, y);
  });
  *b_square = squares.total();
  return sums.total();
}

double exact_squared_distance_f32(const float* a, const float* b, std::size_t depth) noexcept {
  Sums16 sums;
  for_blocks(a, b, depth, [&](const float* x, const float* y) { sums.add_squared_differences(x, y); });
  return sums.total();
}

}  // namespace
}  // namespace fastembed
