#include "search/candidates.hpp"

#include <algorithm>
#include <cmath>

namespace fastembed::search {

float kth_lower(Bounded* entries, std::size_t count, std::size_t k) {
  std::nth_element(entries, entries + (k - 1), entries + count,
                   [](const Bounded& a, const Bounded& b) { return a.lower > b.lower; });
  return entries[k - 1].lower;
}

TopCandidates::TopCandidates(const Request& request, const Bounds& bounds, std::size_t k, std::size_t queries)
    : bounds_(bounds),
      request_(request),
      k_(k),
      capacity_(capacity_for(k, request.index.rows)),
      lists_(support::AlignedBuffer<Bounded>::uninitialised(queries * capacity_)) {}

void TopCandidates::begin(QueryBatch& batch, const Scorer& scorer, SharedKeys& shared, int worker) {
  batch_ = &batch;
  scorer_ = &scorer;
  shared_ = &shared;
  worker_ = static_cast<std::size_t>(worker);
  counts_.assign(batch.size(), 0);
  least_keys_.assign(batch.size(), -INFINITY);
  unscanned.clear();
}

std::size_t TopCandidates::capacity_for(std::size_t k, std::size_t rows) noexcept {
  return std::min(2 * k + 44, std::max(rows, k + 1));
}

void TopCandidates::take(std::span<const Candidate> candidates) {
  for (const Candidate& candidate : candidates) {
    const std::size_t query = candidate.query;
    const KeyBounds bounds = bounds_.key_bounds(candidate.product, candidate.norm, batch_->scale(query));
    if (bounds.upper < least_keys_[query]) continue;  // the threshold of its panel was older
    if (counts_[query] == capacity_) tighten(query);
    lists_[query * capacity_ + counts_[query]++] = {bounds.lower, bounds.upper, candidate.row};
  }
}

void TopCandidates::raise(std::size_t query, float key) {
  least_keys_[query] = key;
  batch_->raise_threshold(query, bounds_.threshold(key, batch_->scale(query)));
}

// Makes room in a full list and raises the query's threshold.
void TopCandidates::tighten(std::size_t query) {
  Bounded* const list = lists_.data() + query * capacity_;
  float key = kth_lower(list, counts_[query], k_);
  if (shared_->workers() > 1) {
    const std::size_t share = (k_ + shared_->workers() - 1) / shared_->workers();
    // The k best come first now.
    key = std::max(key, shared_->publish(worker_, query, kth_lower(list, k_, share)));
  }
  const auto* end = std::remove_if(list, list + counts_[query], [key](const Bounded& b) { return b.upper < key; });
  counts_[query] = static_cast<std::uint32_t>(end - list);
  raise(query, key);
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
      known.push_back(scorer_->exact(query, list[i].row));
    }
  }
  std::nth_element(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(k_ - 1), known.end(), better);
  for (std::size_t i = 0; i < k_; ++i) list[i] = {known[i].key, known[i].key, known[i].row};
  counts_[query] = static_cast<std::uint32_t>(k_);
  raise(query, known[k_ - 1].key);
}

}  // namespace fastembed::search
