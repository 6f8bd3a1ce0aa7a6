#include "search/candidates.hpp"

#include <algorithm>

namespace fastembed::search {

float kth_lower(Bounded* entries, std::size_t count, std::size_t k) {
  std::nth_element(entries, entries + (k - 1), entries + count,
                   [](const Bounded& a, const Bounded& b) { return a.lower > b.lower; });
  return entries[k - 1].lower;
}

TopCandidates::TopCandidates(const Request& request, const Bounds& bounds, QueryBatch& batch, const Scorer& scorer,
                             std::size_t k)
    : bounds_(bounds),
      batch_(batch),
      scorer_(scorer),
      request_(request),
      k_(k),
      capacity_(capacity_for(k, request.index.rows)),
      lists_(support::AlignedBuffer<Bounded>::uninitialised(batch.size() * capacity_)),
      counts_(batch.size(), 0) {}

std::size_t TopCandidates::capacity_for(std::size_t k, std::size_t rows) noexcept {
  return std::min(2 * k + 44, std::max(rows, k + 1));
}

void TopCandidates::take(std::span<const Candidate> candidates) {
  for (const Candidate& candidate : candidates) {
    const std::size_t query = candidate.query;
    const KeyBounds bounds = bounds_.key_bounds(candidate.product, candidate.norm, batch_.scale(query));
    if (counts_[query] == capacity_) tighten(query);
    lists_[query * capacity_ + counts_[query]++] = {bounds.lower, bounds.upper, candidate.row};
  }
}

// Makes room in a full list and raises the query's threshold.
void TopCandidates::tighten(std::size_t query) {
  Bounded* const list = lists_.data() + query * capacity_;
  const float key = kth_lower(list, counts_[query], k_);
  const auto* end = std::remove_if(list, list + counts_[query], [key](const Bounded& b) { return b.upper < key; });
  counts_[query] = static_cast<std::uint32_t>(end - list);
  batch_.raise_threshold(query, bounds_.threshold(key, batch_.scale(query)));
  if (counts_[query] > k_ + (capacity_ - k_) / 2) resolve(query, list);
}

// Bounds that overlap: replaces them by keys, of which k are enough.
void TopCandidates::resolve(std::size_t query, Bounded* list) {
  std::vector<Exact> known;
  known.reserve(counts_[query]);
  for (std::size_t i = 0; i < counts_[query]; ++i) {
    if (list[i].lower == list[i].upper) {
      known.push_back({list[i].lower, request_.rank(list[i].row), list[i].row});
    } else {
      known.push_back(scorer_.exact(query, list[i].row));
    }
  }
  std::nth_element(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(k_ - 1), known.end(), better);
  for (std::size_t i = 0; i < k_; ++i) list[i] = {known[i].key, known[i].key, known[i].row};
  counts_[query] = static_cast<std::uint32_t>(k_);
  batch_.raise_threshold(query, bounds_.threshold(known[k_ - 1].key, batch_.scale(query)));
}

}  // namespace fastembed::search
