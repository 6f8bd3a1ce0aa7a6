// Blocks of rows, or queries, handed out to workers. Each begins with its own share, the same in every search, so that
// what the caches of its core hold of an index is what it reads next time; who has none left takes from the end of
// others'.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fastembed::search {

class BlockShares {
 public:
  /// Blocks 0 .. blocks-1, at most 2^32 - 1, among `workers`.
  void divide(std::size_t blocks, int workers) {
    blocks_ = blocks;
    const auto count = static_cast<std::size_t>(workers);
    shares_ = std::vector<Share>(count);
    for (std::size_t w = 0; w < count; ++w) {
      shares_[w].range.store(range(blocks * w / count, blocks * (w + 1) / count), std::memory_order_relaxed);
    }
  }

  /// A block that nobody else gets; as many as there are blocks when none is left.
  std::size_t take(int worker) noexcept {
    const auto own = static_cast<std::size_t>(worker);
    std::size_t block = shares_[own].take_first(blocks_);
    for (std::size_t i = 1; i < shares_.size() && block == blocks_; ++i) {
      block = shares_[(own + i) % shares_.size()].take_last(blocks_);
    }
    return block;
  }

 private:
  static constexpr std::uint64_t range(std::size_t begin, std::size_t end) noexcept {
    return std::uint64_t{end} << 32 | begin;
  }
  // Begin and end of what is left, in one word; a line of its own.
  struct alignas(64) Share {
    std::atomic<std::uint64_t> range{0};

    std::size_t take_first(std::size_t none) noexcept {
      return take(none, [](std::size_t& begin, std::size_t&) { return begin++; });
    }
    std::size_t take_last(std::size_t none) noexcept {
      return take(none, [](std::size_t&, std::size_t& end) { return --end; });
    }
    template <class Pick>
    std::size_t take(std::size_t none, const Pick& pick) noexcept {
      std::uint64_t left = range.load(std::memory_order_relaxed);
      while (true) {
        std::size_t begin = left & 0xffffffffU, end = left >> 32;
        if (begin >= end) return none;
        const std::size_t block = pick(begin, end);
        if (range.compare_exchange_weak(left, BlockShares::range(begin, end), std::memory_order_relaxed)) return block;
      }
    }
  };

  std::vector<Share> shares_;
  std::size_t blocks_ = 0;
};

}  // namespace fastembed::search
