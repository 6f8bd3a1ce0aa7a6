// CBOW with negative sampling, one center: the scaled sum of the context rows against the output rows.
#pragma once

#include "kernels/window_blocks.inl.hpp"

namespace fastembed {
namespace {

void cbow_window_f32(const CbowWindow& step) noexcept {
  using Reg = Vec::Reg;
  float* target_snapshot = step.workspace;
  float* hidden = target_snapshot + std::size_t{step.target_count} * step.depth;
  float* delta = hidden + step.depth;
  float* gradients = delta + step.depth;

  const Reg hidden_scale = Vec::broadcast(step.hidden_scale);
  for (std::size_t i = 0; i < step.depth; i += Vec::kLanes) {
    Reg sum = Vec::zero();
    for (std::uint32_t c = 0; c < step.context_count; ++c) sum = Vec::add(sum, Vec::load(step.context_rows[c] + i));
    Vec::store(hidden + i, Vec::mul(sum, hidden_scale));
    Vec::store(delta + i, Vec::zero());
  }
  const float* hidden_row = hidden;
  const BlockRows rows{&hidden_row, &delta,    step.target_rows,  target_snapshot,
                       step.depth,  gradients, step.prefetch_rows};
  score_grid(rows, 1, step.target_count, step.learning_rate, *step.loss);
  update_grid(rows, 1, step.target_count);

  const Reg gradient_scale = Vec::broadcast(step.gradient_scale);
  for (std::size_t i = 0; i < step.depth; i += Vec::kLanes) {
    const Reg scaled = Vec::mul(Vec::load(delta + i), gradient_scale);
    for (std::uint32_t c = 0; c < step.context_count; ++c) {
      float* row = step.context_rows[c] + i;
      Vec::store(row, Vec::add(Vec::load(row), scaled));
    }
  }
}

}  // namespace
}  // namespace fastembed
