// Adds stored sums to rows of the training matrices. Called by the rounds of a deterministic training.
#pragma once

#include "kernels/row_format.inl.hpp"

namespace fastembed {
namespace {

template <class Rows>
void add_rows_as(const RowSums& step) noexcept {
  using Element = typename Rows::Element;
  constexpr std::size_t kLine = 64;
  // The sums come from another core's cache as often as not, and a list of rows is no stream to the hardware.
  constexpr std::size_t kAhead = 2;
  RoundingBits random(step.rounding_seed);
  for (std::size_t i = 0; i < step.count; ++i) {
    if (i + kAhead < step.count) {
      const auto* const sum = reinterpret_cast<const unsigned char*>(step.sums[i + kAhead]);
      const auto* const row = static_cast<const unsigned char*>(step.rows[i + kAhead]);
      for (std::size_t at = 0; at < step.depth * sizeof(float); at += kLine) __builtin_prefetch(sum + at, 0, 2);
      for (std::size_t at = 0; at < step.depth * sizeof(Element); at += kLine) __builtin_prefetch(row + at, 1, 3);
    }
    auto* const row = static_cast<Element*>(step.rows[i]);
    const float* const sum = step.sums[i];
    for (std::size_t at = 0; at < step.depth; at += Vec::kLanes) Rows::add(row + at, Vec::load(sum + at), random);
  }
}

void add_rows(const RowSums& step) noexcept {
  switch (step.row_format) {
    case RowFormat::kFloat32: return add_rows_as<Float32Rows>(step);
    case RowFormat::kBfloat16: return add_rows_as<Bfloat16Rows>(step);
    case RowFormat::kFloat16: return add_rows_as<Float16Rows>(step);
  }
}

}  // namespace
}  // namespace fastembed
