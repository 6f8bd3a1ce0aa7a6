// What one tile adds to the rows of the model, kept until all tiles of its round are done. Written by the worker that
// computes the tile, read by the workers that add. No SIMD, no Python.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::train {

class TileSums {
 public:
  /// The rows of a model are divided into shards. A shard is added by one worker at a time, in the order of the tiles
  /// and of the slots within a tile, so that it does not matter which one.
  static constexpr std::uint32_t kShards = 32;

  TileSums(std::size_t slots, std::size_t depth) : sums_(slots * depth), slots_(slots) {
    for (std::size_t slot = 0; slot < slots; ++slot) slots_[slot] = sums_.data() + slot * depth;
    targets_.reserve(slots);
  }

  /// Where the kernel stores the sums, one address a slot.
  [[nodiscard]] void* const* slots() noexcept { return slots_.data(); }

  void clear() noexcept { targets_.clear(); }

  /// The sum of `slot` is to be added to `row`, that of `word` in one of the two matrices. Slots come in ascending
  /// order.
  void add_target(std::size_t slot, void* row, std::int32_t word, bool output) {
    const std::uint32_t shard = (static_cast<std::uint32_t>(word) + (output ? kShards / 2 : 0)) % kShards;
    targets_.push_back({row, static_cast<const float*>(slots_[slot]), shard});
  }

  /// Orders the targets by shard; to be called once after the last one.
  void group() {
    std::array<std::uint32_t, kShards> at{};
    for (const Target& target : targets_) ++at[target.shard];
    std::uint32_t begin = 0;
    for (std::uint32_t shard = 0; shard < kShards; ++shard) {
      begins_[shard] = begin;
      begin += std::exchange(at[shard], begin);
    }
    begins_[kShards] = begin;
    rows_.resize(begin);
    addends_.resize(begin);
    for (const Target& target : targets_) {
      const std::uint32_t to = at[target.shard]++;
      rows_[to] = target.row;
      addends_[to] = target.sum;
    }
  }

  [[nodiscard]] std::span<void* const> rows(std::uint32_t shard) const noexcept {
    return std::span(rows_).subspan(begins_[shard], begins_[shard + 1] - begins_[shard]);
  }
  [[nodiscard]] std::span<const float* const> addends(std::uint32_t shard) const noexcept {
    return std::span(addends_).subspan(begins_[shard], begins_[shard + 1] - begins_[shard]);
  }

  LossSum loss{};  // of this tile alone

 private:
  struct Target {
    void* row;
    const float* sum;
    std::uint32_t shard;
  };

  support::AlignedBuffer<float> sums_;
  std::vector<void*> slots_;
  std::vector<Target> targets_;
  std::vector<void*> rows_;
  std::vector<const float*> addends_;
  std::array<std::uint32_t, kShards + 1> begins_{};
};

}  // namespace fastembed::train
