// What training draws at random for the words of a text: which are kept, how far their windows reach, and negatives.
// The streams are those of support/rng.hpp.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

constexpr std::uint64_t kDrawStep = 0x9e3779b97f4a7c15U;
constexpr std::uint64_t kDrawFirst = 0xbf58476d1ce4e5b9U, kDrawSecond = 0x94d049bb133111ebU;
constexpr std::size_t kTokensAhead = 32;  // the thresholds of a large vocabulary lie beyond L2

[[gnu::always_inline]] inline std::uint64_t random_draw(std::uint64_t key, std::uint64_t n) noexcept {
  std::uint64_t z = key + kDrawStep * (n + 1);
  z = (z ^ (z >> 30)) * kDrawFirst;
  z = (z ^ (z >> 27)) * kDrawSecond;
  return z ^ (z >> 31);
}

// Every token is written and the count then advanced or not: the decision is a coin toss, which a branch would
// mispredict.
[[gnu::always_inline]] inline std::size_t draw_token(const TokenDraws& step, std::size_t i, std::size_t kept) noexcept {
  const std::uint64_t random = random_draw(step.key, step.first + i);
  const std::int32_t word = step.ids[i];
  step.words[kept] = word;
  step.offsets[kept] = step.offset + static_cast<std::int32_t>(i);
  step.reaches[kept] =
      static_cast<std::int32_t>(step.least + ((static_cast<std::uint32_t>(random) * std::uint64_t{step.span}) >> 32));
  return kept + (static_cast<std::uint32_t>(random >> 32) <= step.thresholds[word] ? 1 : 0);
}

std::size_t draw_tokens(const TokenDraws& step) noexcept {
  std::size_t kept = 0, i = 0;
  const std::size_t looks_ahead = step.readable < kTokensAhead ? 0 : step.readable - kTokensAhead;
  for (const std::size_t end = looks_ahead < step.count ? looks_ahead : step.count; i < end; ++i) {
    __builtin_prefetch(step.thresholds + step.ids[i + kTokensAhead]);
    kept = draw_token(step, i, kept);
  }
  for (; i < step.count; ++i) kept = draw_token(step, i, kept);
  return kept;
}

[[gnu::always_inline]] inline std::uint64_t alias_column(const AliasDraws& step, std::uint64_t random) noexcept {
  return ((random >> 32) * step.column_count) >> 32;
}

void draw_aliases(const AliasDraws& step) noexcept {
  for (std::size_t k = 0; k < step.count; ++k) {
    const std::uint64_t random = random_draw(step.key, step.first + k);
    const auto column = static_cast<std::int32_t>(alias_column(step, random));
    const AliasColumn chosen = step.columns[column];
    const std::int32_t keep_column = -static_cast<std::int32_t>(static_cast<std::uint32_t>(random) <= chosen.threshold);
    step.words[k] = chosen.alias ^ ((column ^ chosen.alias) & keep_column);
  }
  for (std::size_t k = 0; k < step.fetched; ++k) {
    __builtin_prefetch(step.columns + alias_column(step, random_draw(step.key, step.fetched_first + k)));
  }
}

}  // namespace
}  // namespace fastembed
