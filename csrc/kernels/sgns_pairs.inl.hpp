// Skip-gram with negative sampling as word2vec.c does it: the pairs of one center, one step each, with negatives of
// their own. Nearly all of the time goes into the rows of the negatives, which come from beyond the nearest cache.
// Called by the pair trainer.
#pragma once

#include "kernels/sgns_window.inl.hpp"

namespace fastembed {
namespace {

// So that other cores give up their copies of the line now, and not when the store waits for it.
[[gnu::always_inline]] inline void prefetch_to_write(const void* at) noexcept {
#if defined(__x86_64__)
  // By name: of a builtin gcc makes a plain prefetch unless told of this extension. Processors without it do nothing.
  __asm__ volatile("prefetchw %0" : : "m"(*static_cast<const char*>(at)));
#else
  __builtin_prefetch(at, 1, 3);
#endif
}

// Distinct targets: the center and kNegatives others.
template <std::size_t kNegatives>
[[gnu::always_inline]] inline void step_pair(const SgnsPairs& step, float* context,
                                             const std::int32_t* words) noexcept {
  using Reg = Vec::Reg;
  constexpr std::size_t kTargets = kNegatives + 1;
  constexpr std::size_t kFloatsPerLine = 16;
  const std::size_t depth = step.depth;
  float* const gradients = step.workspace;
  const auto row_of = [&](std::int32_t word) { return step.output_rows + static_cast<std::size_t>(word) * depth; };
  float* target[kTargets];
  float* ahead[kNegatives];
  target[0] = row_of(step.center);
  for (std::size_t n = 0; n < kNegatives; ++n) {
    target[n + 1] = row_of(words[n]);
    ahead[n] = row_of(words[kPairLookahead * kNegatives + n]);
  }
  // The first products start the sums: zeroed ones would go through memory.
  Reg sums[kTargets];
  const Reg first = Vec::load(context);
  for (std::size_t t = 0; t < kTargets; ++t) sums[t] = Vec::mul(first, Vec::load(target[t]));
  for (std::size_t i = Vec::kLanes; i < depth; i += Vec::kLanes) {
    const Reg value = Vec::load(context + i);
    for (std::size_t t = 0; t < kTargets; ++t) sums[t] = Vec::fma(value, Vec::load(target[t] + i), sums[t]);
  }
  Vec::store_sums(sums, gradients);
  scores_to_gradients<1, kTargets>(gradients, true, step.learning_rate, *step.loss);
  Reg gradient[kTargets];
  for (std::size_t t = 0; t < kTargets; ++t) gradient[t] = Vec::broadcast(gradients[t]);
  for (std::size_t i = 0; i < depth; i += Vec::kLanes) {
    if (i % kFloatsPerLine == 0) {
      for (std::size_t n = 0; n < kNegatives; ++n) prefetch_to_write(ahead[n] + i);
    }
    const Reg value = Vec::load(context + i);
    Reg moved = value;
    for (std::size_t t = 0; t < kTargets; ++t) {
      const Reg row = Vec::load(target[t] + i);
      moved = Vec::fma(gradient[t], row, moved);
      Vec::store(target[t] + i, Vec::fma(gradient[t], value, row));
    }
    Vec::store(context + i, moved);
  }
}

// A pair with repeated targets, or more of them than a block: the general step. A negative equal to the center is left
// out, as in word2vec.c.
[[gnu::noinline]] void step_any_pair(const SgnsPairs& step, std::size_t pair) noexcept {
  const std::int32_t* const negatives = step.negatives + pair * step.negative_count;
  const std::int32_t* const ahead = negatives + std::size_t{kPairLookahead} * step.negative_count;
  float** const targets = step.target_rows;
  std::uint32_t count = 0;
  targets[count++] = step.output_rows + static_cast<std::size_t>(step.center) * step.depth;
  for (std::uint32_t n = 0; n < step.negative_count; ++n) {
    if (negatives[n] != step.center) {
      targets[count++] = step.output_rows + static_cast<std::size_t>(negatives[n]) * step.depth;
    }
    const float* const row = step.output_rows + static_cast<std::size_t>(ahead[n]) * step.depth;
    for (std::size_t i = 0; i < step.depth; i += 16) prefetch_to_write(row + i);
  }
  sgns_window_f32({step.context_rows + pair, step.context_rows + pair, targets, nullptr, 1, count, step.depth,
                   step.learning_rate, step.workspace, step.loss});
}

// Is one of the words the center, or two of them the same?
template <std::size_t kNegatives>
[[gnu::always_inline]] inline bool repeats(std::int32_t center, const std::int32_t* words) noexcept {
  bool found = false;
  for (std::size_t n = 0; n < kNegatives; ++n) {
    found |= words[n] == center;
    for (std::size_t m = 0; m < n; ++m) found |= words[n] == words[m];
  }
  return found;
}

template <std::size_t kNegatives>
[[gnu::noinline]] void step_pairs(const SgnsPairs& step) noexcept {
  for (std::size_t pair = 0; pair < step.pair_count; ++pair) {
    const std::int32_t* const words = step.negatives + pair * kNegatives;
    if (repeats<kNegatives>(step.center, words)) [[unlikely]] {
      step_any_pair(step, pair);
    } else {
      step_pair<kNegatives>(step, step.context_rows[pair], words);
    }
  }
}

void sgns_pairs_f32(const SgnsPairs& step) noexcept {
  static_assert(kTargetBlock == 6);
  switch (step.negative_count) {
    case 1: return step_pairs<1>(step);
    case 2: return step_pairs<2>(step);
    case 3: return step_pairs<3>(step);
    case 4: return step_pairs<4>(step);
    case 5: return step_pairs<5>(step);
    default: break;
  }
  for (std::size_t pair = 0; pair < step.pair_count; ++pair) step_any_pair(step, pair);
}

}  // namespace
}  // namespace fastembed
