// Register blocks shared by the skip-gram and CBOW steps: scores and gradients of up to kContextBlock x kTargetBlock
// pairs, and the update of both sides. Every sum stays in registers for a whole pass over the depth.
#pragma once

#include "kernels/logistic.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kTargetBlock = 6;  // the positive and five negatives, the default
constexpr std::size_t kContextBlock = Vec::kContextBlock;

// Gradients of one block, padded so that the scores are loaded just as they were stored.
constexpr std::size_t kBlockGradients = (kContextBlock * kTargetBlock + 15) / 16 * 16;

struct BlockRows {
  const float* const* context_values;
  float* const* context_rows;
  float* const* target_rows;
  float* target_snapshot;  // rows of `depth` floats: the target values before the step
  std::size_t depth;
  float* gradients;  // kBlockGradients floats
  const float* const* prefetch_rows = nullptr;
};

// What turns the scores of a block into z = sign * score + bias: sign -1 for a positive pair, +1 for a negative.
// Padding gets z = -100, whose probability and loss are exactly zero.
template <std::size_t kContexts, std::size_t kTargets, std::size_t kPadded>
struct Labels {
  float sign[kPadded];
  float bias[kPadded];

  consteval explicit Labels(bool first_target_is_positive) : sign{}, bias{} {
    for (std::size_t i = 0; i < kPadded; ++i) {
      const bool pair = i < kContexts * kTargets;
      sign[i] = !pair ? 0.0F : (first_target_is_positive && i % kTargets == 0) ? -1.0F : 1.0F;
      bias[i] = pair ? 0.0F : -100.0F;
    }
  }
};

// In: scores x. Out: gradients learning_rate * (label - sigmoid(x)) = -sign * learning_rate * sigmoid(z). Adds each
// pair's negative log-likelihood, softplus(z).
template <std::size_t kContexts, std::size_t kTargets>
inline void scores_to_gradients(float* values, bool first_target_is_positive, float learning_rate,
                                LossSum& loss) noexcept {
  using Reg = Vec::Reg;
  constexpr std::size_t kPadded = (kContexts * kTargets + Vec::kLanes - 1) / Vec::kLanes * Vec::kLanes;
  static constexpr Labels<kContexts, kTargets, kPadded> kWithPositive{true};
  static constexpr Labels<kContexts, kTargets, kPadded> kNegativesOnly{false};
  const auto& labels = first_target_is_positive ? kWithPositive : kNegativesOnly;
  make_room(loss, kPadded / Vec::kLanes);
  const Reg minus_rate = Vec::broadcast(-learning_rate);
  Reg linear = Vec::load(loss.linear_lanes);
  Reg factors = Vec::load(loss.factor_lanes);
  for (std::size_t i = 0; i < kPadded; i += Vec::kLanes) {
    const Reg sign = Vec::load(labels.sign + i);
    const Reg z = Vec::fma(sign, Vec::load(values + i), Vec::load(labels.bias + i));
    Reg one_plus_e;
    const Reg probability = sigmoid(z, one_plus_e);
    Vec::store(values + i, Vec::mul(Vec::mul(sign, minus_rate), probability));
    linear = Vec::add(linear, positive_part(z));
    factors = Vec::mul(factors, one_plus_e);
  }
  Vec::store(loss.linear_lanes, linear);
  Vec::store(loss.factor_lanes, factors);
}

template <std::size_t kContexts, std::size_t kTargets, bool kTakeSnapshot>
inline void score_block(const BlockRows& rows) noexcept {
  using Reg = Vec::Reg;
  // Row pointers in locals: the compiler must assume that a vector store changes whatever it can reach.
  const float* context[kContexts];
  const float* target[kTargets];
  for (std::size_t c = 0; c < kContexts; ++c) context[c] = rows.context_values[c];
  for (std::size_t t = 0; t < kTargets; ++t) {
    target[t] = kTakeSnapshot ? rows.target_rows[t] : rows.target_snapshot + t * rows.depth;
  }
  float* const snapshot = rows.target_snapshot;
  const std::size_t depth = rows.depth;
  Reg sums[kContexts * kTargets];
  for (auto& sum : sums) sum = Vec::zero();
  for (std::size_t i = 0; i < depth; i += Vec::kLanes) {
    Reg value[kContexts];
    for (std::size_t c = 0; c < kContexts; ++c) value[c] = Vec::load(context[c] + i);
    for (std::size_t t = 0; t < kTargets; ++t) {
      const Reg row = Vec::load(target[t] + i);
      if constexpr (kTakeSnapshot) Vec::store(snapshot + t * depth + i, row);
      for (std::size_t c = 0; c < kContexts; ++c)
        sums[c * kTargets + t] = Vec::fma(value[c], row, sums[c * kTargets + t]);
    }
  }
  Vec::store_sums(sums, rows.gradients);
}

// With kPrefetch, a line of each of kTargets + 1 rows is prefetched in every step of the depth loop: the same
// prefetches in one burst before the step fill the line buffers and stall.
template <std::size_t kContexts, std::size_t kTargets, bool kPrefetch>
inline void update_block(const BlockRows& rows) noexcept {
  using Reg = Vec::Reg;
  const float* context[kContexts];
  float* context_row[kContexts];
  float* target_row[kTargets];
  Reg gradient[kContexts * kTargets];
  for (std::size_t c = 0; c < kContexts; ++c) {
    context[c] = rows.context_values[c];
    context_row[c] = rows.context_rows[c];
  }
  for (std::size_t t = 0; t < kTargets; ++t) target_row[t] = rows.target_rows[t];
  for (std::size_t i = 0; i < kContexts * kTargets; ++i) gradient[i] = Vec::broadcast(rows.gradients[i]);
  const float* const snapshot = rows.target_snapshot;
  const std::size_t depth = rows.depth;
  for (std::size_t i = 0; i < depth; i += Vec::kLanes) {
    if constexpr (kPrefetch) {
      constexpr std::size_t kFloatsPerLine = 16;
      if (i % kFloatsPerLine == 0) {
        for (std::size_t r = 0; r <= kTargets; ++r) __builtin_prefetch(rows.prefetch_rows[r] + i, 1, 3);
      }
    }
    Reg value[kContexts];
    Reg delta[kContexts];
    for (std::size_t c = 0; c < kContexts; ++c) {
      value[c] = Vec::load(context[c] + i);
      delta[c] = Vec::zero();
    }
    for (std::size_t t = 0; t < kTargets; ++t) {
      const Reg before = Vec::load(snapshot + t * depth + i);
      Reg row = Vec::load(target_row[t] + i);
      for (std::size_t c = 0; c < kContexts; ++c) {
        delta[c] = Vec::fma(gradient[c * kTargets + t], before, delta[c]);
        row = Vec::fma(gradient[c * kTargets + t], value[c], row);
      }
      Vec::store(target_row[t] + i, row);
    }
    // The row is read again, not taken from `value`: it may be a repeated row that another context has just updated.
    for (std::size_t c = 0; c < kContexts; ++c) {
      Vec::store(context_row[c] + i, Vec::add(Vec::load(context_row[c] + i), delta[c]));
    }
  }
}

// What a pass over the blocks does with each.
struct ScorePass {
  bool first_context_block;  // it also takes the snapshot of the target rows
  bool first_target_block;   // it holds the positive
  float learning_rate;
  LossSum& loss;

  template <std::size_t kContexts, std::size_t kTargets>
  void run(const BlockRows& rows) const noexcept {
    if (first_context_block) {
      score_block<kContexts, kTargets, true>(rows);
    } else {
      score_block<kContexts, kTargets, false>(rows);
    }
    scores_to_gradients<kContexts, kTargets>(rows.gradients, first_target_block, learning_rate, loss);
  }
};

struct UpdatePass {
  template <std::size_t kContexts, std::size_t kTargets>
  void run(const BlockRows& rows) const noexcept {
    if (rows.prefetch_rows != nullptr) {
      update_block<kContexts, kTargets, true>(rows);
    } else {
      update_block<kContexts, kTargets, false>(rows);
    }
  }
};

template <std::size_t kContexts, class Pass>
inline void run_targets(const Pass& pass, const BlockRows& rows, std::size_t targets) noexcept {
  switch (targets) {
    case 1: return pass.template run<kContexts, 1>(rows);
    case 2: return pass.template run<kContexts, 2>(rows);
    case 3: return pass.template run<kContexts, 3>(rows);
    case 4: return pass.template run<kContexts, 4>(rows);
    case 5: return pass.template run<kContexts, 5>(rows);
    default: return pass.template run<kContexts, 6>(rows);
  }
}

// One block of 1..kContextBlock contexts and 1..kTargetBlock targets.
template <class Pass>
inline void run_block(const Pass& pass, const BlockRows& rows, std::size_t contexts, std::size_t targets) noexcept {
  static_assert(kContextBlock <= 4 && kTargetBlock == 6);
  if constexpr (kContextBlock >= 4) {
    if (contexts == 4) return run_targets<4>(pass, rows, targets);
    if (contexts == 3) return run_targets<3>(pass, rows, targets);
  }
  if (contexts == 2) return run_targets<2>(pass, rows, targets);
  return run_targets<1>(pass, rows, targets);
}

inline std::size_t smaller(std::size_t a, std::size_t b) noexcept { return a < b ? a : b; }

inline std::size_t target_blocks(std::size_t targets) noexcept { return (targets + kTargetBlock - 1) / kTargetBlock; }

// The block at (context c, target t) of a grid whose rows `whole` names.
inline BlockRows block_at(const BlockRows& whole, std::size_t c, std::size_t t, std::size_t target_count) noexcept {
  const std::size_t index = c / kContextBlock * target_blocks(target_count) + t / kTargetBlock;
  return {whole.context_values + c,
          whole.context_rows + c,
          whole.target_rows + t,
          whole.target_snapshot + t * whole.depth,
          whole.depth,
          whole.gradients + index * kBlockGradients,
          c == 0 && whole.prefetch_rows != nullptr ? whole.prefetch_rows + t : nullptr};
}

inline void score_grid(const BlockRows& whole, std::size_t context_count, std::size_t target_count, float learning_rate,
                       LossSum& loss) noexcept {
  for (std::size_t c = 0; c < context_count; c += kContextBlock) {
    for (std::size_t t = 0; t < target_count; t += kTargetBlock) {
      run_block(ScorePass{c == 0, t == 0, learning_rate, loss}, block_at(whole, c, t, target_count),
                smaller(context_count - c, kContextBlock), smaller(target_count - t, kTargetBlock));
    }
  }
}

inline void update_grid(const BlockRows& whole, std::size_t context_count, std::size_t target_count) noexcept {
  for (std::size_t c = 0; c < context_count; c += kContextBlock) {
    for (std::size_t t = 0; t < target_count; t += kTargetBlock) {
      run_block(UpdatePass{}, block_at(whole, c, t, target_count), smaller(context_count - c, kContextBlock),
                smaller(target_count - t, kTargetBlock));
    }
  }
}

}  // namespace
}  // namespace fastembed
