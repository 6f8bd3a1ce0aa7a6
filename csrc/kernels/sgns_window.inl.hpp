// Skip-gram with negative sampling, one center: the window's input rows times its output rows as a small matrix
// product, the exact sigmoid, both updates. Called by the window and pair trainers.
#pragma once

#include "kernels/logistic.inl.hpp"
#include "kernels/window_blocks.inl.hpp"

namespace fastembed {
namespace {

void sgns_window_f32(const SgnsWindow& step) noexcept {
  const std::size_t pair_count = std::size_t{step.context_count} * step.target_count;
  float* target_snapshot = step.workspace;
  float* context_snapshot = target_snapshot + std::size_t{step.target_count} * step.depth;
  float* scores = context_snapshot + std::size_t{step.context_count} * step.depth;
  float* signs = scores + padded_pairs(pair_count);

  const BlockRows rows{step.context_values, step.context_rows, step.target_rows, target_snapshot,
                       step.depth,          step.target_count, scores};
  run_grid<Pass::kScoreAndSnapshot>(rows, step.context_count, step.target_count);
  fill_signs(signs, step.context_count, step.target_count);
  scores_to_gradients(scores, signs, pair_count, step.learning_rate, *step.loss);
  if (step.target_count <= kTargetBlock) {
    run_grid<Pass::kUpdate>(rows, step.context_count, step.target_count);
    return;
  }
  // With several target blocks a context row would be read again after its first update, so the blocks read copies.
  const float* copies[Vec::kContextBlock];
  for (std::size_t c = 0; c < step.context_count; ++c) {
    for (std::size_t i = 0; i < step.depth; i += Vec::kLanes) {
      Vec::store(context_snapshot + c * step.depth + i, Vec::load(step.context_values[c] + i));
    }
  }
  for (std::size_t c = 0; c < step.context_count; c += Vec::kContextBlock) {
    const std::size_t contexts =
        step.context_count - c < Vec::kContextBlock ? step.context_count - c : Vec::kContextBlock;
    for (std::size_t j = 0; j < contexts; ++j) copies[j] = context_snapshot + (c + j) * step.depth;
    const BlockRows block{copies,     step.context_rows + c, step.target_rows,         target_snapshot,
                          step.depth, step.target_count,     scores + c * step.target_count};
    run_grid<Pass::kUpdate>(block, contexts, step.target_count);
  }
}

}  // namespace
}  // namespace fastembed
