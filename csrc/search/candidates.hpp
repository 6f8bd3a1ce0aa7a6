// What a worker keeps of a search: for every query the rows that may still be among its k best, with bounds on their
// keys, in a list of bounded length.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "search/collector.hpp"
#include "search/panels.hpp"
#include "search/score.hpp"
#include "search/seeds.hpp"
#include "search/stored_rows.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::search {

/// The definition applied to rows of one request. One object a worker.
class Scorer {
 public:
  Scorer(const KernelTable& kernels, const Request& request, const QueryBatch& batch)
      : kernels_(kernels), request_(request), batch_(batch), reader_(kernels, request.index) {}
  [[nodiscard]] float key(std::size_t query, std::int64_t row) noexcept {
    return exact_key(kernels_, request_.metric, request_.queries.row(batch_.first() + query), batch_.scale(query).norm,
                     reader_.row(static_cast<std::size_t>(row)), request_.index.depth);
  }
  /// The product of a row with the scaled query in float32, of requests with codes: what Bounds takes.
  [[nodiscard]] float product(std::size_t query, std::int64_t row) noexcept {
    return kernels_.dot_f32(batch_.scaled(query), reader_.row(static_cast<std::size_t>(row)), request_.index.depth);
  }
  /// Fetches a row that will be wanted soon.
  void prefetch(std::int64_t row) const noexcept {
    const auto* const at = reinterpret_cast<const char*>(request_.index.address(static_cast<std::size_t>(row)));
    const std::size_t bytes = request_.index.row_bytes();
    for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, 3);
  }
  [[nodiscard]] Exact exact(std::size_t query, std::int64_t row) noexcept {
    return {key(query, row), request_.rank(row), row};
  }

 private:
  const KernelTable& kernels_;
  const Request& request_;
  const QueryBatch& batch_;
  RowReader reader_;
};

/// A row with bounds on its key by the definition; lower == upper when the key is known.
struct Bounded {
  float lower;
  float upper;
  std::int64_t row;
  [[nodiscard]] bool is_known() const noexcept { return lower == upper; }
};

/// Lower bounds of entries, as kth_greatest_f32 takes them, into `room`.
void list_lowers(std::span<const Bounded> entries, std::vector<float>& room);

/// For every worker and query of a batch a key that a worker's share of the k rows (k / workers, rounded up) is known
/// to reach: the least of them is reached by k rows together. Where every worker has queries of its own, nothing is
/// shared: what others find of these, when their own are done, is only put together at the end.
class SharedKeys {
 public:
  SharedKeys(int workers, std::size_t queries, const PanelGroups& groups)
      : workers_(static_cast<std::size_t>(workers)),
        groups_(groups),
        keys_(new std::atomic<float>[sharers() * queries]) {
    for (std::size_t i = 0; i < sharers() * queries; ++i) keys_[i].store(-INFINITY, std::memory_order_relaxed);
  }
  /// Workers that meet the rows of a query together.
  [[nodiscard]] std::size_t sharers() const noexcept { return groups_.count() == 1 ? workers_ : 1; }
  /// The first of a worker's part of a query's rows, every sharers()-th of them; `none` where it has no part.
  [[nodiscard]] std::size_t part(std::size_t worker, std::size_t query, std::size_t none) const noexcept {
    if (groups_.count() == 1) return worker < workers_ ? worker : none;
    return groups_.of_query(query) == worker ? 0 : none;
  }

  /// Publishes a worker's key and returns what all workers' rows together are known to reach.
  float publish(std::size_t worker, std::size_t query, float key) noexcept {
    std::atomic<float>* const keys = keys_.get() + query * sharers();
    key = std::max(key, keys[worker].load(std::memory_order_relaxed));
    keys[worker].store(key, std::memory_order_relaxed);
    for (std::size_t w = 0; w < sharers(); ++w) key = std::min(key, keys[w].load(std::memory_order_relaxed));
    return key;
  }

 private:
  std::size_t workers_;
  PanelGroups groups_;
  std::unique_ptr<std::atomic<float>[]> keys_;
};

class TopCandidates final : public Collector {
 public:
  /// For batches of up to `queries`.
  TopCandidates(const KernelTable& kernels, const Request& request, const Bounds& bounds, std::size_t k,
                std::size_t queries);

  /// Starts with a batch as one of its workers: nothing found yet but its part of `seeds`, which are to stay.
  void begin(QueryBatch& batch, SharedKeys& shared, int worker, const Seeds& seeds);

  /// Entries that the lists of `k` best need room for.
  static std::size_t capacity_for(std::size_t k, std::size_t rows) noexcept;

  void take(std::span<const Candidate> candidates) override;
  [[nodiscard]] std::size_t wanted() const noexcept override { return k_; }
  /// Not where one of eight had to be scored to make room in lists: float32, asked first, would tell them apart.
  [[nodiscard]] bool takes_refined() const noexcept override { return 8 * resolved_ <= met_ + kSomeMet; }
  [[nodiscard]] const Bounded* entries(std::size_t query) const noexcept { return lists_.data() + query * capacity_; }
  /// Adds what came since the batch began.
  void add_counts(SearchCounts& counts) const noexcept {
    counts.candidates += met_;
    counts.scored += scored_;
  }
  [[nodiscard]] std::size_t count(std::size_t query) const noexcept { return counts_[query]; }

 private:
  static constexpr std::int64_t kSomeMet = 256;
  // Entries more than a list had when it was last tightened that make it worth doing again.
  [[nodiscard]] std::size_t some() const noexcept { return std::max<std::size_t>(6, share_ / 3); }
  void take_rough(std::span<const Candidate> candidates);
  void find_products(std::span<const Candidate> candidates);
  void add(std::size_t query, std::int64_t row, const KeyBounds& key, bool is_dear);
  void raise(std::size_t query, float key);
  void tighten(std::size_t query);
  void resolve(std::size_t query, Bounded* list);

  const KernelTable& kernels_;
  const Bounds& bounds_;
  const Request& request_;
  QueryBatch* batch_ = nullptr;
  std::optional<Scorer> scorer_;
  const Seeds* seeds_ = nullptr;
  SharedKeys* shared_ = nullptr;
  std::size_t worker_ = 0;
  std::int64_t met_ = 0, scored_ = 0, resolved_ = 0;
  std::size_t k_;
  std::size_t share_ = 0;  // of the k rows, what one of a query's workers has to know of
  std::size_t capacity_;
  // Of the rough candidates that are being taken.
  std::vector<float> products_, norms_, factors_, offsets_;
  std::vector<float> lowers_;  // of the list that is being tightened
  support::AlignedBuffer<Bounded> lists_;
  std::vector<std::uint32_t> counts_;
  std::vector<std::uint32_t> full_;  // entries at which a list is tightened before it takes a dear one
  std::vector<float> least_keys_;    // k rows are known to reach it, or -infinity
};

}  // namespace fastembed::search
