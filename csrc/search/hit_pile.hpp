// What a query finds that may find millions of rows: hits in as many bytes as their results take, put in order where
// they lie and moved out piece by piece, so that beside the results there is never more than a piece of them.
#pragma once

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "search/request.hpp"
#include "search/score.hpp"
#include "support/growing_array.hpp"

namespace fastembed::search {

/// A row that reaches the threshold. 12 bytes: the row's number is kept in halves, which need no alignment to 8.
class Hit {
 public:
  Hit() = default;
  Hit(float key, std::int64_t row) noexcept
      : key_(key),
        low_(static_cast<std::uint32_t>(row)),
        high_(static_cast<std::uint32_t>(static_cast<std::uint64_t>(row) >> 32)) {}
  [[nodiscard]] float key() const noexcept { return key_; }
  [[nodiscard]] std::int64_t row() const noexcept {
    return static_cast<std::int64_t>(std::uint64_t{high_} << 32 | low_);
  }

 private:
  float key_;
  std::uint32_t low_, high_;
};
static_assert(sizeof(Hit) == sizeof(float) + sizeof(std::int64_t));

struct Found {
  Hit hit;
  std::uint32_t query;  // of the batch
};

class HitPile {
 public:
  /// Keeps the best `most` of what is appended.
  explicit HitPile(const Request& request, std::size_t most = SIZE_MAX) : request_(request), most_(most) {}

  /// May be called by any thread.
  void append(std::span<const Found> found);
  /// A key that `most` hits are known to reach, -infinity if there is none yet.
  [[nodiscard]] float least() const noexcept { return least_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t size() const noexcept { return hits_.size(); }

  /// After the last append, before the first take.
  void sort();
  /// Moves the best `count` of the hits that are left to scores and rows, best first.
  void take(std::size_t count, float* scores, std::int64_t* rows);

 private:
  [[nodiscard]] bool worse(const Hit& a, const Hit& b) const noexcept;
  void keep_best();

  const Request& request_;
  std::size_t most_;
  std::atomic<float> least_{-INFINITY};
  std::mutex mutex_;
  support::GrowingArray<Hit> hits_;
};

}  // namespace fastembed::search
