#include <algorithm>
#include <cmath>
#include <memory>

#include "cpu/dispatch.hpp"
#include "search/batches.hpp"
#include "search/candidates.hpp"
#include "search/topk.hpp"

namespace fastembed::search {
namespace {

struct Found {
  std::size_t query;  // of the request
  Exact result;
};

// Asks the definition at once, while the row is in the cache.
class RangeCollector final : public Collector {
 public:
  RangeCollector(const Scorer& scorer, std::size_t first_query, float key)
      : scorer_(scorer), first_query_(first_query), key_(key) {}
  void take(std::span<const Candidate> candidates) override {
    for (const Candidate& candidate : candidates) meet(candidate.query, candidate.row);
  }
  void meet(std::size_t query, std::int64_t row) {
    const Exact result = scorer_.exact(query, row);
    if (result.key >= key_) found.push_back({first_query_ + query, result});
  }

  std::vector<Found> found;

 private:
  const Scorer& scorer_;
  std::size_t first_query_;
  float key_;
};

class RangeSearch {
 public:
  RangeSearch(const KernelTable& kernels, const Request& request, const Bounds& bounds, std::size_t first,
              std::size_t count)
      : request_(request),
        batch_(kernels, request, bounds, first, count),
        scorer_(kernels, request, batch_),
        scan_(kernels, request, bounds, batch_) {}

  // Appends what is found, in any order.
  std::int64_t search(std::vector<Found>& found) {
    const double operations =
        static_cast<double>(batch_.size()) * static_cast<double>(request_.index.rows * request_.index.depth);
    const int blocks = static_cast<int>(std::clamp<std::size_t>(scan_.blocks(), 1, 4096));
    const int workers = std::min(useful_workers(request_, operations), blocks);
    const float key = score_to_key(request_.metric, request_.threshold);
    std::vector<std::unique_ptr<RangeCollector>> collectors;
    for (int w = 0; w < workers; ++w) {
      collectors.push_back(std::make_unique<RangeCollector>(scorer_, batch_.first(), key));
    }
    run(request_, workers, operations * 4, [&](int worker, const support::StopFlag& stop) {
      RangeCollector& collector = *collectors[static_cast<std::size_t>(worker)];
      scan_.work(collector, stop);
      meet_unscanned(collector, stop);
      meet_all(worker, workers, collector, stop);
    });
    for (auto& collector : collectors) {
      found.insert(found.end(), collector->found.begin(), collector->found.end());
      collector.reset();
    }
    return scan_.bad_row();
  }

 private:
  // The rows that the scan could not judge.
  void meet_unscanned(RangeCollector& collector, const support::StopFlag& stop) const {
    for (const std::int64_t row : collector.unscanned) {
      if (stop.load(std::memory_order_relaxed)) return;
      for (std::size_t query = 0; query < batch_.size(); ++query) {
        if (!batch_.scale(query).scannable) continue;
        if (request_.admits(batch_.first() + query, static_cast<std::size_t>(row))) collector.meet(query, row);
      }
    }
  }

  // The queries that the scan could not take, each worker its share of the rows.
  void meet_all(int worker, int workers, RangeCollector& collector, const support::StopFlag& stop) const {
    for (std::size_t query = 0; query < batch_.size(); ++query) {
      if (batch_.scale(query).scannable) continue;
      for (auto row = static_cast<std::size_t>(worker); row < request_.index.rows;
           row += static_cast<std::size_t>(workers)) {
        if (stop.load(std::memory_order_relaxed)) return;
        if (request_.mask != nullptr && request_.mask[row] == 0) continue;
        if (request_.admits(batch_.first() + query, row)) collector.meet(query, static_cast<std::int64_t>(row));
      }
    }
  }

  const Request& request_;
  QueryBatch batch_;
  Scorer scorer_;
  BlockScan scan_;
};

// Puts what was found by query, best first.
void arrange(const Request& request, std::vector<Found>& found, RangeResult& result) {
  result.offsets.assign(request.queries.rows + 1, 0);
  for (const Found& one : found) ++result.offsets[one.query + 1];
  for (std::size_t q = 0; q < request.queries.rows; ++q) result.offsets[q + 1] += result.offsets[q];
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return a.query != b.query ? a.query < b.query : better(a.result, b.result);
  });
  result.scores.reserve(found.size());
  result.rows.reserve(found.size());
  for (const Found& one : found) {
    result.scores.push_back(key_to_score(request.metric, one.result.key));
    result.rows.push_back(one.result.row);
  }
}

}  // namespace

RangeResult range_search(const Request& request) {
  const KernelTable& kernels = cpu::kernels();
  RangeResult result;
  result.bad.query = first_bad_query(kernels, request);
  std::vector<Found> found;
  if (result.bad.query < 0) {
    const Bounds bounds(request.metric, request.index.depth);
    const std::size_t step = batch_size(request, 0);
    for (std::size_t first = 0; first < request.queries.rows; first += step) {
      const std::size_t count = std::min(step, request.queries.rows - first);
      RangeSearch search(kernels, request, bounds, first, count);
      const std::int64_t row = search.search(found);
      if (!request.check_finite || row < 0) continue;
      result.bad.index = row;
      break;
    }
  }
  if (result.bad.query >= 0 || result.bad.index >= 0) found.clear();
  arrange(request, found, result);
  return result;
}

}  // namespace fastembed::search
