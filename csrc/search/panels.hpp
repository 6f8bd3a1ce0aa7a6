// A batch of queries made ready for the scan: norms, scales, and panels that hold them side by side.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/bounds.hpp"
#include "search/request.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::search {

/// Packs `columns` rows times their scales, powers of two, side by side into out[i * width + j]; the rest of the
/// columns is zeros.
void pack_panel(const KernelTable& kernels, const Matrix& rows, std::size_t first, std::size_t columns,
                const double* scales, std::size_t width, float* out);

/// Queries of a batch up to which each is scanned by itself, as a panel of width 1.
constexpr std::size_t kSingleQueries = 4;
/// The same where an index has codes: a panel of them takes no longer than two passes.
constexpr std::size_t kSingleCodedQueries = 2;
/// Whether a batch of `count` queries is scanned that way.
[[nodiscard]] inline bool scans_singly(const Request& request, std::size_t count) noexcept {
  return count <= (request.codes != nullptr ? kSingleCodedQueries : kSingleQueries);
}

/// Panels of a batch in groups of neighbours: one, or one for each worker, which then meets all rows by itself.
class PanelGroups {
 public:
  PanelGroups() = default;
  PanelGroups(std::size_t panels, std::size_t width, std::size_t count) noexcept
      : panels_(panels), width_(width), count_(count) {}

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// The first panel of a group, and of the last one's successor the end.
  [[nodiscard]] std::size_t first(std::size_t group) const noexcept { return panels_ * group / count_; }
  [[nodiscard]] std::size_t of_query(std::size_t query) const noexcept {
    return ((query / width_ + 1) * count_ - 1) / panels_;
  }

 private:
  std::size_t panels_ = 1;
  std::size_t width_ = 1;
  std::size_t count_ = 1;
};

class QueryBatch {
 public:
  /// Queries first .. first + count - 1 of the request.
  QueryBatch(const KernelTable& kernels, const Request& request, const Bounds& bounds, std::size_t first,
             std::size_t count);

  [[nodiscard]] std::size_t first() const noexcept { return first_; }
  [[nodiscard]] std::size_t size() const noexcept { return scales_.size(); }
  [[nodiscard]] std::size_t width() const noexcept { return width_; }
  [[nodiscard]] std::size_t panels() const noexcept { return (size() + width_ - 1) / width_; }
  [[nodiscard]] const float* panel(std::size_t p) const noexcept { return packed_.data() + p * width_ * depth_; }
  /// A query times its scale, for a request with codes.
  [[nodiscard]] const float* scaled(std::size_t query) const noexcept {
    return (width_ == 1 ? packed_.data() : scaled_.data()) + query * depth_;
  }
  [[nodiscard]] const QueryScale& scale(std::size_t query) const noexcept { return scales_[query]; }

  /// What a product must reach; shared by all workers and only ever raised.
  [[nodiscard]] float threshold(std::size_t query) const noexcept {
    return thresholds_[query].load(std::memory_order_relaxed);
  }
  void raise_threshold(std::size_t query, float value) noexcept {
    float old = threshold(query);
    while (old < value && !thresholds_[query].compare_exchange_weak(old, value, std::memory_order_relaxed)) {
    }
  }

 private:
  std::size_t first_;
  std::size_t depth_;
  std::size_t width_;
  std::vector<QueryScale> scales_;
  support::AlignedBuffer<float> packed_;
  support::AlignedBuffer<float> scaled_;              // where candidates of codes are to be looked at one by one
  std::unique_ptr<std::atomic<float>[]> thresholds_;  // padded to whole panels with what nothing reaches
};

}  // namespace fastembed::search
