// What a worker keeps of a search: for every query the rows that may still be among its k best, with bounds on their
// keys, in a list of bounded length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "search/block_scan.hpp"
#include "search/score.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::search {

/// The definition applied to rows of one request. Holds references only.
class Scorer {
 public:
  Scorer(const KernelTable& kernels, const Request& request, const QueryBatch& batch)
      : kernels_(kernels), request_(request), batch_(batch) {}
  [[nodiscard]] float key(std::size_t query, std::int64_t row) const noexcept {
    return exact_key(kernels_, request_.metric, request_.queries.row(batch_.first() + query), batch_.scale(query).norm,
                     request_.index.row(static_cast<std::size_t>(row)), request_.index.depth);
  }
  [[nodiscard]] Exact exact(std::size_t query, std::int64_t row) const noexcept {
    return {key(query, row), request_.rank(row), row};
  }

 private:
  const KernelTable& kernels_;
  const Request& request_;
  const QueryBatch& batch_;
};

/// A row with bounds on its key by the definition; lower == upper when the key is known.
struct Bounded {
  float lower;
  float upper;
  std::int64_t row;
};

/// The k-th greatest lower bound of a list of at least k entries, which it reorders.
float kth_lower(Bounded* entries, std::size_t count, std::size_t k);

class TopCandidates final : public Collector {
 public:
  TopCandidates(const Request& request, const Bounds& bounds, QueryBatch& batch, const Scorer& scorer, std::size_t k);

  /// Entries that the lists of `k` best need room for.
  static std::size_t capacity_for(std::size_t k, std::size_t rows) noexcept;

  void take(std::span<const Candidate> candidates) override;
  [[nodiscard]] const Bounded* entries(std::size_t query) const noexcept { return lists_.data() + query * capacity_; }
  [[nodiscard]] std::size_t count(std::size_t query) const noexcept { return counts_[query]; }

 private:
  void tighten(std::size_t query);
  void resolve(std::size_t query, Bounded* list);

  const Bounds& bounds_;
  QueryBatch& batch_;
  const Scorer& scorer_;
  const Request& request_;
  std::size_t k_;
  std::size_t capacity_;
  support::AlignedBuffer<Bounded> lists_;
  std::vector<std::uint32_t> counts_;
};

}  // namespace fastembed::search
