// What is drawn at random in training: which tokens are kept, and the negatives. Tables are built once from counts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/kernel_table.hpp"

namespace fastembed::train {

/// Draws words with probability proportional to count^exponent in O(1): Walker's alias method, built by Vose's
/// algorithm (IEEE TSE 17(9), 1991) in float64 with the columns below average handled last in, first out.
class AliasTable {
 public:
  /// A count of 0 has no weight, whatever the exponent (but for 2^-32 of its column: thresholds have 32 bits).
  /// Throws std::invalid_argument when `counts` is empty or no weight is positive and finite.
  AliasTable(std::span<const std::int64_t> counts, double exponent);

  /// The same words in `part_count` tables that are drawn from equally often, hardly a word being in two of them (with
  /// a share of its weight in each): workers that draw from different parts do not write to the same rows. Words that
  /// follow each other are kept together, because who reads a row makes the processor fetch the next ones too.
  static std::vector<AliasTable> parts(std::span<const std::int64_t> counts, double exponent, std::size_t part_count);

  /// High 32 bits of `random` choose the column, low 32 bits choose between the column and its alias.
  [[nodiscard]] std::int32_t sample(std::uint64_t random) const noexcept {
    const auto column = static_cast<std::int32_t>(((random >> 32) * columns_.size()) >> 32);
    const AliasColumn chosen = columns_[column];
    // Without a branch: the comparison is a coin toss, and a mispredicted one would stop the loads of later draws.
    const std::int32_t keep_column = -static_cast<std::int32_t>(static_cast<std::uint32_t>(random) <= chosen.threshold);
    return chosen.alias ^ ((column ^ chosen.alias) & keep_column);
  }

  /// For AliasDraws.
  [[nodiscard]] std::span<const AliasColumn> columns() const noexcept { return columns_; }

 private:
  explicit AliasTable(std::vector<double> weights);

  std::vector<AliasColumn> columns_;
};

/// For each word the largest 32-bit draw at which an occurrence is kept. word2vec.c's formula: with f = count / total,
/// the probability is (sqrt(f / sample) + 1) * sample / f, and every token is kept when sample is 0.
std::vector<std::uint32_t> keep_thresholds(std::span<const std::int64_t> counts, double sample);

}  // namespace fastembed::train
