// Register blocks shared by the skip-gram and CBOW steps: scores of up to kContextBlock x kTargetBlock rows, and the
// update of both sides. Every sum stays in registers for a whole pass over the depth.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

constexpr int kTargetBlock = 6;  // the positive and five negatives, the default

struct BlockRows {
  const float* const* context_values;
  float* const* context_rows;
  float* const* target_rows;
  float* target_snapshot;  // rows of `depth` floats: the target values before the step
  std::size_t depth;
  std::size_t gradient_stride;
  float* gradients;  // scores, later gradients, of the block's first context and target
};

template <int kContexts, int kTargets, bool kTakeSnapshot>
void score_block(const BlockRows& rows) noexcept {
  using Reg = Vec::Reg;
  Reg sums[kContexts * kTargets];
  for (auto& sum : sums) sum = Vec::zero();
  for (std::size_t i = 0; i < rows.depth; i += Vec::kLanes) {
    Reg context[kContexts];
    for (int c = 0; c < kContexts; ++c) context[c] = Vec::load(rows.context_values[c] + i);
    for (int t = 0; t < kTargets; ++t) {
      const Reg target = Vec::load((kTakeSnapshot ? rows.target_rows[t] : rows.target_snapshot + t * rows.depth) + i);
      if constexpr (kTakeSnapshot) Vec::store(rows.target_snapshot + t * rows.depth + i, target);
      for (int c = 0; c < kContexts; ++c) sums[c * kTargets + t] = Vec::fma(context[c], target, sums[c * kTargets + t]);
    }
  }
  if (rows.gradient_stride == kTargets) {
    Vec::store_sums(sums, rows.gradients);
    return;
  }
  float dense[kContexts * kTargets];
  Vec::store_sums(sums, dense);
  for (int c = 0; c < kContexts; ++c) {
    for (int t = 0; t < kTargets; ++t) rows.gradients[c * rows.gradient_stride + t] = dense[c * kTargets + t];
  }
}

template <int kContexts, int kTargets>
void update_block(const BlockRows& rows) noexcept {
  using Reg = Vec::Reg;
  Reg gradient[kContexts * kTargets];
  for (int c = 0; c < kContexts; ++c) {
    for (int t = 0; t < kTargets; ++t) {
      gradient[c * kTargets + t] = Vec::broadcast(rows.gradients[c * rows.gradient_stride + t]);
    }
  }
  for (std::size_t i = 0; i < rows.depth; i += Vec::kLanes) {
    Reg context[kContexts];
    Reg delta[kContexts];
    for (int c = 0; c < kContexts; ++c) {
      context[c] = Vec::load(rows.context_values[c] + i);
      delta[c] = Vec::zero();
    }
    for (int t = 0; t < kTargets; ++t) {
      const Reg before = Vec::load(rows.target_snapshot + t * rows.depth + i);
      Reg row = Vec::load(rows.target_rows[t] + i);
      for (int c = 0; c < kContexts; ++c) {
        delta[c] = Vec::fma(gradient[c * kTargets + t], before, delta[c]);
        row = Vec::fma(gradient[c * kTargets + t], context[c], row);
      }
      Vec::store(rows.target_rows[t] + i, row);
    }
    // The row is read again, not taken from `context`: it may be a repeated row that another context has just updated.
    for (int c = 0; c < kContexts; ++c) {
      float* row = rows.context_rows[c] + i;
      Vec::store(row, Vec::add(Vec::load(row), delta[c]));
    }
  }
}

enum class Pass { kScoreAndSnapshot, kScore, kUpdate };

template <Pass kPass, int kContexts, int kTargets>
void run_block(const BlockRows& rows) noexcept {
  if constexpr (kPass == Pass::kUpdate) {
    update_block<kContexts, kTargets>(rows);
  } else {
    score_block<kContexts, kTargets, kPass == Pass::kScoreAndSnapshot>(rows);
  }
}

template <Pass kPass, int kContexts>
void run_targets(const BlockRows& rows, std::size_t targets) noexcept {
  switch (targets) {
    case 1: return run_block<kPass, kContexts, 1>(rows);
    case 2: return run_block<kPass, kContexts, 2>(rows);
    case 3: return run_block<kPass, kContexts, 3>(rows);
    case 4: return run_block<kPass, kContexts, 4>(rows);
    case 5: return run_block<kPass, kContexts, 5>(rows);
    default: return run_block<kPass, kContexts, 6>(rows);
  }
}

// One block of 1..kContextBlock contexts and 1..kTargetBlock targets.
template <Pass kPass>
void run_pass(const BlockRows& rows, std::size_t contexts, std::size_t targets) noexcept {
  static_assert(Vec::kContextBlock <= 4 && kTargetBlock == 6);
  if constexpr (Vec::kContextBlock >= 4) {
    if (contexts == 4) return run_targets<kPass, 4>(rows, targets);
    if (contexts == 3) return run_targets<kPass, 3>(rows, targets);
  }
  if (contexts == 2) return run_targets<kPass, 2>(rows, targets);
  return run_targets<kPass, 1>(rows, targets);
}

// Every block of a context_count x target_count grid, targets in the inner loop.
template <Pass kPass>
void run_grid(const BlockRows& whole, std::size_t context_count, std::size_t target_count) noexcept {
  for (std::size_t c = 0; c < context_count; c += Vec::kContextBlock) {
    const std::size_t contexts = context_count - c < Vec::kContextBlock ? context_count - c : Vec::kContextBlock;
    for (std::size_t t = 0; t < target_count; t += kTargetBlock) {
      const std::size_t targets = target_count - t < kTargetBlock ? target_count - t : kTargetBlock;
      const BlockRows block{whole.context_values + c,
                            whole.context_rows + c,
                            whole.target_rows + t,
                            whole.target_snapshot + t * whole.depth,
                            whole.depth,
                            whole.gradient_stride,
                            whole.gradients + c * whole.gradient_stride + t};
      if (kPass == Pass::kScoreAndSnapshot && c != 0) {
        run_pass<Pass::kScore>(block, contexts, targets);
      } else {
        run_pass<kPass>(block, contexts, targets);
      }
    }
  }
}

inline std::size_t padded_pairs(std::size_t count) noexcept { return (count + 16 + 15) / 16 * 16; }

// -1 for every positive (target 0 of each context), +1 elsewhere.
inline void fill_signs(float* signs, std::size_t context_count, std::size_t target_count) noexcept {
  for (std::size_t i = 0; i < padded_pairs(context_count * target_count); ++i) signs[i] = 1.0F;
  for (std::size_t c = 0; c < context_count; ++c) signs[c * target_count] = -1.0F;
}

}  // namespace
}  // namespace fastembed
