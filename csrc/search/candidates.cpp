#include "search/candidates.hpp"

#include <algorithm>
#include <cmath>

namespace fastembed::search {

void list_lowers(std::span<const Bounded> entries, std::vector<float>& room) {
  room.resize(entries.size() + kRowPadding);
  for (std::size_t i = 0; i < entries.size(); ++i) room[i] = entries[i].lower;
  std::fill_n(room.begin() + static_cast<std::ptrdiff_t>(entries.size()), kRowPadding, -INFINITY);
}

TopCandidates::TopCandidates(const KernelTable& kernels, const Request& request, const Bounds& bounds, std::size_t k,
                             std::size_t queries)
    : kernels_(kernels),
      bounds_(bounds),
      request_(request),
      k_(k),
      capacity_(capacity_for(k, request.index.rows)),
      lists_(support::AlignedBuffer<Bounded>::uninitialised(queries * capacity_)) {}

void TopCandidates::begin(QueryBatch& batch, SharedKeys& shared, int worker, const Seeds& seeds) {
  batch_ = &batch;
  scorer_.emplace(kernels_, request_, batch);
  seeds_ = &seeds;
  shared_ = &shared;
  worker_ = static_cast<std::size_t>(worker);
  share_ = (k_ + shared.sharers() - 1) / shared.sharers();
  counts_.assign(batch.size(), 0);
  full_.assign(batch.size(), static_cast<std::uint32_t>(share_ + some()));
  least_keys_ = seeds.keys;
  least_keys_.resize(batch.size(), -INFINITY);
  unscanned.clear();
  met_ = scored_ = resolved_ = 0;
  for (std::size_t query = 0; query < seeds.counts.size(); ++query) {
    const std::size_t first = query * seeds.places;
    const std::size_t count = seeds.counts[query];
    for (std::size_t i = shared.part(worker_, query, count); i < count; i += shared.sharers()) {
      const KeyBounds& key = seeds.row_keys[first + i];
      lists_[query * capacity_ + counts_[query]++] = {key.lower, key.upper, seeds.rows[first + i]};
    }
  }
}

std::size_t TopCandidates::capacity_for(std::size_t k, std::size_t rows) noexcept {
  return std::min(2 * k + 44, std::max(rows, k + 1));
}

// Of all first: rows are on their way while others are multiplied, and no branch waits for one. NaN where float32
// cannot tell, or is not worth asking: a single query has been multiplied in two digits, which are nearly as good.
void TopCandidates::find_products(std::span<const Candidate> candidates) {
  constexpr std::size_t kAhead = 6;
  const bool single = batch_->width() == 1;
  for (auto* room : {&products_, &norms_, &factors_, &offsets_})
    room->resize(std::max(room->size(), candidates.size()));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto& [query, row, key, norm, met_by] = candidates[i];
    if (i + kAhead < candidates.size()) scorer_->prefetch(candidates[i + kAhead].row);
    const bool asks = bounds_.can_scan(norm) && !(single && least_keys_[query] > -INFINITY);
    products_[i] = asks ? scorer_->product(query, row) : NAN;
    norms_[i] = norm;
  }
  bounds_.row_terms(norms_.data(), candidates.size(), factors_.data(), offsets_.data());
}

// A product in float32 first: the bounds that follow from it will do, since few of these rows are going to stay. The
// definition only where float32 cannot tell.
void TopCandidates::take_rough(std::span<const Candidate> candidates) {
  find_products(candidates);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto& [query, row, no_key, norm, met_by] = candidates[i];
    if (products_[i] < factors_[i] * batch_->threshold(query) + offsets_[i]) continue;
    if (!std::isnan(products_[i])) {
      const KeyBounds key = bounds_.key_bounds(products_[i], norm, batch_->scale(query));
      if (!(key.upper < least_keys_[query])) add(query, row, key, true);
      continue;
    }
    ++scored_;
    const float key = scorer_->key(query, row);
    if (key < least_keys_[query]) continue;
    const bool is_nan = std::isnan(key);
    add(query, row, is_nan ? KeyBounds{-INFINITY, INFINITY} : KeyBounds{key, key}, !is_nan);
  }
}

void TopCandidates::take(std::span<const Candidate> candidates) {
  met_ += static_cast<std::int64_t>(candidates.size());
  if (candidates.front().is_rough()) return take_rough(candidates);
  for (const Candidate& candidate : candidates) {
    // The threshold of its panel may have been older.
    if (candidate.key.upper < least_keys_[candidate.query]) continue;
    if (seeds_->holds(candidate.query, candidate.row)) continue;
    add(candidate.query, candidate.row, candidate.key, candidate.met_by == MetBy::kResiduals);
  }
}

// Keys that took more than their part of a scan are dear: some of them, and the threshold is to rise.
void TopCandidates::add(std::size_t query, std::int64_t row, const KeyBounds& key, bool is_dear) {
  if (counts_[query] == capacity_ || (is_dear && counts_[query] >= full_[query])) tighten(query);
  lists_[query * capacity_ + counts_[query]++] = {key.lower, key.upper, row};
}

void TopCandidates::raise(std::size_t query, float key) {
  if (!(key > least_keys_[query])) return;
  least_keys_[query] = key;
  batch_->raise_threshold(query, bounds_.threshold(key, batch_->scale(query)));
}

// Makes room in a full list and raises the query's threshold.
void TopCandidates::tighten(std::size_t query) {
  Bounded* const list = lists_.data() + query * capacity_;
  const std::size_t count = counts_[query];
  list_lowers({list, count}, lowers_);
  float key = least_keys_[query];
  if (count >= k_) key = std::max(key, kernels_.kth_greatest_f32(lowers_.data(), count, k_));
  if (shared_->sharers() > 1) {
    key = std::max(key, shared_->publish(worker_, query, kernels_.kth_greatest_f32(lowers_.data(), count, share_)));
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {  // without a branch: about half of them go, in no order
    list[kept] = list[i];
    kept += list[i].upper >= key ? 1 : 0;
  }
  counts_[query] = static_cast<std::uint32_t>(kept);
  raise(query, key);
  if (counts_[query] > k_ + (capacity_ - k_) / 2) resolve(query, list);
  // Entries that bounds cannot tell apart may all have stayed: others must come before it is worth another look.
  full_[query] = static_cast<std::uint32_t>(std::max<std::size_t>(share_, counts_[query]) + some());
}

// Bounds that overlap: replaces them by keys, of which k are enough.
void TopCandidates::resolve(std::size_t query, Bounded* list) {
  std::vector<Exact> known;
  known.reserve(counts_[query]);
  for (std::size_t i = 0; i < counts_[query]; ++i) {
    if (list[i].is_known()) {
      known.push_back({list[i].lower, request_.rank(list[i].row), list[i].row});
    } else {
      ++scored_;
      ++resolved_;
      known.push_back(scorer_->exact(query, list[i].row));
    }
  }
  std::nth_element(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(k_ - 1), known.end(), better);
  for (std::size_t i = 0; i < k_; ++i) {
    const bool is_nan = std::isnan(known[i].key);
    list[i] = {is_nan ? -INFINITY : known[i].key, is_nan ? INFINITY : known[i].key, known[i].row};
  }
  counts_[query] = static_cast<std::uint32_t>(k_);
  if (!std::isnan(known[k_ - 1].key)) raise(query, known[k_ - 1].key);
}

}  // namespace fastembed::search
