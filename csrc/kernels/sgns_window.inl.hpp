// Skip-gram with negative sampling, one center: the window's input rows times its output rows as a small matrix
// product, the exact sigmoid, both updates. Called by the window and pair trainers.
#pragma once

#include "kernels/window_blocks.inl.hpp"

namespace fastembed {
namespace {

void sgns_window_f32(const SgnsWindow& step) noexcept {
  float* target_snapshot = step.workspace;
  float* context_snapshot = target_snapshot + std::size_t{step.target_count} * step.depth;
  float* gradients = context_snapshot + std::size_t{step.context_count} * step.depth;
  const BlockRows rows{step.context_values, step.context_rows, step.target_rows,  target_snapshot,
                       step.depth,          gradients,         step.prefetch_rows};
  score_grid(rows, step.context_count, step.target_count, step.learning_rate, *step.loss);
  if (step.target_count <= kTargetBlock) {
    update_grid(rows, step.context_count, step.target_count);
    return;
  }
  // With several target blocks a context row would be read again after its first update, so the blocks read copies.
  for (std::size_t c = 0; c < step.context_count; ++c) {
    for (std::size_t i = 0; i < step.depth; i += Vec::kLanes) {
      Vec::store(context_snapshot + c * step.depth + i, Vec::load(step.context_values[c] + i));
    }
  }
  for (std::size_t c = 0; c < step.context_count; c += kContextBlock) {
    const std::size_t contexts = smaller(step.context_count - c, kContextBlock);
    const float* copies[kContextBlock];
    for (std::size_t j = 0; j < contexts; ++j) copies[j] = context_snapshot + (c + j) * step.depth;
    BlockRows block = block_at(rows, c, 0, step.target_count);
    block.context_values = copies;
    update_grid(block, contexts, step.target_count);
  }
}

}  // namespace
}  // namespace fastembed
