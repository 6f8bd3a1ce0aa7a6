#include "search/topk.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <numeric>

#include "cpu/dispatch.hpp"
#include "search/batches.hpp"
#include "search/block_scan.hpp"
#include "search/candidates.hpp"
#include "search/short_search.hpp"
#include "support/float_environment.hpp"

namespace fastembed::search {
namespace {

// One list a worker, reused from batch to batch.
using Lists = std::vector<std::unique_ptr<TopCandidates>>;

// Places of results, the best first, in the lower halves of `places`. Sorted as integers, which takes a third of the
// time of `better`; that is asked where keys are equal.
void list_best_first(const std::vector<Exact>& found, std::vector<std::uint64_t>& places) {
  places.resize(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(found[i].key + 0.0F);  // zeros are equal
    const std::uint32_t descending = (bits & 0x80000000U) != 0 ? bits : ~bits & 0x7fffffffU;
    places[i] = std::uint64_t{std::isnan(found[i].key) ? UINT32_MAX : descending} << 32 | i;
  }
  std::sort(places.begin(), places.end());
  const auto differs = [](std::uint64_t a, std::uint64_t b) { return a >> 32 != b >> 32; };
  for (auto first = places.begin(); first != places.end();) {
    const auto last = std::adjacent_find(first, places.end(), differs);
    const auto end = last == places.end() ? last : last + 1;
    const auto by_rank = [&](std::uint64_t a, std::uint64_t b) {
      return better(found[static_cast<std::uint32_t>(a)], found[static_cast<std::uint32_t>(b)]);
    };
    if (end - first > 1) std::sort(first, end, by_rank);
    first = end;
  }
}

// A batch's search: the scan by all workers, then the definition for what is left of every query.
class TopSearch {
 public:
  TopSearch(const KernelTable& kernels, const Request& request, const Bounds& bounds, std::size_t first,
            std::size_t count, std::size_t k, std::size_t most_queries, Lists& lists)
      : kernels_(kernels),
        request_(request),
        bounds_(bounds),
        batch_(kernels, request, bounds, first, count),
        scan_(kernels, request, bounds, batch_),
        k_(k),
        most_queries_(most_queries),
        lists_(lists) {}

  std::int64_t search(float* scores, std::int64_t* rows);

 private:
  // What a worker finishes queries with.
  struct Finishing {
    Scorer scorer;
    std::vector<Bounded> room;
    std::vector<Exact> found;
    std::vector<std::uint64_t> places;
  };
  void finish(std::size_t query, Finishing& at, float* scores, std::int64_t* rows) const;
  void meet(std::size_t query, std::int64_t row, Finishing& at) const;
  void meet_all(std::size_t query, Finishing& at, const support::StopFlag& stop) const;
  void meet_unscanned(std::size_t query, Finishing& at, const support::StopFlag& stop) const;
  void keep_best(std::vector<Exact>& found) const;

  const KernelTable& kernels_;
  const Request& request_;
  const Bounds& bounds_;
  QueryBatch batch_;
  BlockScan scan_;
  std::size_t k_;
  std::size_t most_queries_;  // of any batch
  Lists& lists_;
  Seeds seeds_;
  std::vector<std::int64_t> unscanned_;
};

// Leaves the k best, in any order.
void TopSearch::keep_best(std::vector<Exact>& found) const {
  if (found.size() <= k_) return;
  std::nth_element(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(k_), found.end(), better);
  found.resize(k_);
}

void TopSearch::meet(std::size_t query, std::int64_t row, Finishing& at) const {
  at.found.push_back(at.scorer.exact(query, row));
  if (at.found.size() >= 2 * k_ + 1024) keep_best(at.found);
}

// A query that the scan cannot take: every row by the definition.
void TopSearch::meet_all(std::size_t query, Finishing& at, const support::StopFlag& stop) const {
  for (std::size_t row = 0; row < request_.index.rows && !stop.load(std::memory_order_relaxed); ++row) {
    if (request_.mask != nullptr && request_.mask[row] == 0) continue;
    if (request_.admits(batch_.first() + query, row)) meet(query, static_cast<std::int64_t>(row), at);
  }
}

// The rows that the scan could not judge: perhaps all there are.
void TopSearch::meet_unscanned(std::size_t query, Finishing& at, const support::StopFlag& stop) const {
  for (const std::int64_t row : unscanned_) {
    if (stop.load(std::memory_order_relaxed)) return;
    if (!request_.admits(batch_.first() + query, static_cast<std::size_t>(row)) || seeds_.holds(query, row)) continue;
    meet(query, row, at);
  }
}

// Puts the query's results, of those in `found` and of the lists, in order.
void TopSearch::finish(std::size_t query, Finishing& at, float* scores, std::int64_t* rows) const {
  std::vector<Bounded>& room = at.room;
  std::vector<Exact>& found = at.found;
  room.clear();
  for (const auto& list : lists_) {
    room.insert(room.end(), list->entries(query), list->entries(query) + list->count(query));
  }
  float least = -INFINITY;
  if (room.size() > k_) {
    std::vector<float> lowers;
    list_lowers(room, lowers);
    least = kernels_.kth_greatest_f32(lowers.data(), room.size(), k_);
  }
  std::erase_if(room, [least](const Bounded& entry) { return entry.upper < least; });
  std::int64_t scored = 0;
  for (std::size_t i = 0; i < room.size(); ++i) {
    constexpr std::size_t kAhead = 6;
    if (i + kAhead < room.size() && !room[i + kAhead].is_known()) at.scorer.prefetch(room[i + kAhead].row);
    const Bounded& entry = room[i];
    scored += entry.is_known() ? 0 : 1;
    found.push_back(entry.is_known() ? Exact{entry.lower, request_.rank(entry.row), entry.row}
                                     : at.scorer.exact(query, entry.row));
  }
  if (request_.counts != nullptr) request_.counts->scored += scored;
  if (request_.has_threshold) {
    const float key = score_to_key(request_.metric, request_.threshold);
    std::erase_if(found, [key](const Exact& result) { return !(result.key >= key); });
  }
  if (found.size() > k_ + k_ / 2) keep_best(found);
  list_best_first(found, at.places);
  const std::size_t count = std::min(k_, found.size());
  for (std::size_t i = 0; i < k_; ++i) {
    const Exact* const result = i < count ? &found[static_cast<std::uint32_t>(at.places[i])] : nullptr;
    scores[i] = key_to_score(request_.metric, result != nullptr ? result->key : -INFINITY);
    rows[i] = result != nullptr ? result->row : -1;
  }
}

std::int64_t TopSearch::search(float* scores, std::int64_t* rows) {
  const auto queries = static_cast<double>(batch_.size());
  const double operations = queries * static_cast<double>(request_.index.rows * request_.index.depth) * scan_.cost();
  const int blocks = static_cast<int>(std::clamp<std::size_t>(scan_.blocks(), 1, 4096));
  const int workers = std::min(useful_workers(request_, operations), blocks);
  while (static_cast<int>(lists_.size()) < workers) {
    lists_.push_back(std::make_unique<TopCandidates>(kernels_, request_, bounds_, k_, most_queries_));
  }
  const PanelGroups groups = scan_.groups_for(workers);
  SharedKeys shared(workers, batch_.size(), groups);
  seeds_ = scan_.find_seeds(k_, workers);
  scan_.begin_with(seeds_);
  for (std::size_t q = 0; q < seeds_.keys.size(); ++q) {
    batch_.raise_threshold(q, bounds_.threshold(seeds_.keys[q], batch_.scale(q)));
  }
  for (std::size_t w = 0; w < lists_.size(); ++w) lists_[w]->begin(batch_, shared, static_cast<int>(w), seeds_);
  const auto scan_body = [&](int worker, const support::StopFlag& stop) {
    scan_.work(worker, *lists_[static_cast<std::size_t>(worker)], stop);
  };
  scan_.share_among(workers, groups);
  run(request_, workers, operations, scan_body);
  for (const auto& list : lists_) {
    if (request_.counts != nullptr) list->add_counts(*request_.counts);
  }
  for (auto& list : lists_) unscanned_.insert(unscanned_.end(), list->unscanned.begin(), list->unscanned.end());
  if (groups.count() > 1) {  // which have met the same rows
    std::sort(unscanned_.begin(), unscanned_.end());
    unscanned_.erase(std::unique(unscanned_.begin(), unscanned_.end()), unscanned_.end());
  }
  BlockShares shares;  // of queries: what a worker has found it finishes
  const auto finish_body = [&](int worker, const support::StopFlag& stop) {
    Finishing at{Scorer(kernels_, request_, batch_), {}, {}, {}};
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t query = shares.take(worker);
      if (query >= batch_.size()) return;
      at.found.clear();
      if (batch_.scale(query).scannable) {
        meet_unscanned(query, at, stop);
      } else {
        meet_all(query, at, stop);
      }
      finish(query, at, scores + query * k_, rows + query * k_);
    }
  };
  bool long_work = unscanned_.size() > 64;
  for (std::size_t q = 0; q < batch_.size(); ++q) long_work |= !batch_.scale(q).scannable;
  const double work = long_work ? operations * 4 : queries * static_cast<double>(k_ * request_.index.depth) * 4;
  const int finishers = useful_workers(request_, work);
  shares.divide(batch_.size(), finishers);
  run(request_, finishers, work, finish_body);
  return scan_.bad_row();
}

// All batches of a request, one after the other by all workers, or, when each is little work, side by side.
class TopBatches {
 public:
  TopBatches(const KernelTable& kernels, const Request& request, std::size_t k, float* scores, std::int64_t* rows)
      : kernels_(kernels),
        request_(request),
        bounds_(request.metric, request.index.depth),
        k_(k),
        step_(batch_size(request, TopCandidates::capacity_for(k, request.index.rows) * sizeof(Bounded))),
        scores_(scores),
        rows_(rows) {}

  std::int64_t search() {
    if (is_deep(request_, k_)) return deep_topk(request_, bounds_, k_, scores_, rows_);
    const std::size_t batches = (request_.queries.rows + step_ - 1) / step_;
    const double operations = static_cast<double>(step_) * static_cast<double>(request_.index.rows) *
                              static_cast<double>(request_.index.depth);
    if (request_.workers > 1 && operations < kLittleWork && batches >= 2 * static_cast<std::size_t>(request_.workers)) {
      search_side_by_side(batches, operations * static_cast<double>(batches));
      return bad_row_.load();
    }
    Lists lists;
    Ticker tick(request_.tick);
    for (std::size_t batch = 0; batch < batches && !is_bad(); ++batch) {
      if (batch > 0) tick();
      search_batch(request_, batch, lists);
    }
    return bad_row_.load();
  }

 private:
  static constexpr double kLittleWork = 4e8;  // multiply-adds, some 4 ms

  [[nodiscard]] bool is_bad() const noexcept { return bad_row_.load() >= 0; }

  void search_batch(const Request& request, std::size_t batch, Lists& lists) {
    const std::size_t first = batch * step_, count = std::min(step_, request.queries.rows - first);
    TopSearch search(kernels_, request, bounds_, first, count, k_, step_, lists);
    const std::int64_t row = search.search(scores_ + first * k_, rows_ + first * k_);
    if (row >= 0) bad_row_.store(row);  // the same for every batch: all rows are looked at
  }

  void search_side_by_side(std::size_t batches, double operations) {
    Request alone = request_;
    alone.workers = 1;
    alone.tick = nullptr;
    std::atomic<std::size_t> next{0};
    run(request_, request_.workers, operations, [&](int, const support::StopFlag& stop) {
      Lists lists;
      while (!stop.load(std::memory_order_relaxed) && !is_bad()) {
        const std::size_t batch = next.fetch_add(1, std::memory_order_relaxed);
        if (batch >= batches) return;
        search_batch(alone, batch, lists);
      }
    });
  }

  const KernelTable& kernels_;
  const Request& request_;
  Bounds bounds_;
  std::size_t k_;
  std::size_t step_;
  float* scores_;
  std::int64_t* rows_;
  std::atomic<std::int64_t> bad_row_{-1};
};

}  // namespace

BadRows topk(const Request& request, std::size_t k, float* scores, std::int64_t* rows) {
  const KernelTable& kernels = cpu::kernels();
  const support::DefaultFloatEnvironment environment;
  BadRows bad;
  if (request.queries.rows == 0) return bad;
  if (k > 0 && short_topk(kernels, request, k, scores, rows)) return bad;
  bad.query = first_bad_query(kernels, request);
  if (bad.query >= 0 || k == 0) return bad;
  bad.index = TopBatches(kernels, request, k, scores, rows).search();
  return bad;
}

}  // namespace fastembed::search
