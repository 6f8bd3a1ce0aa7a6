#include <algorithm>
#include <atomic>
#include <memory>

#include "cpu/dispatch.hpp"
#include "search/batches.hpp"
#include "search/block_scan.hpp"
#include "search/candidates.hpp"
#include "search/hit_pile.hpp"
#include "search/topk.hpp"
#include "support/float_environment.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kMostFound = std::size_t{1} << 19;  // of a batch of several queries, at some 40 bytes each
constexpr std::size_t kMostKept = std::size_t{1} << 15;   // by a worker, of a query that is asked alone
constexpr std::size_t kFewerQueries = 8;
constexpr std::size_t kMostDeepBytes = std::size_t{48} << 20;  // of lists with bounds and what a query is finished with

// Thrown when a batch finds more than is to be held: fewer queries are asked at a time then.
struct TooManyFound {};

// Asks the definition at once, while the row is in the cache; when only counting, where the bounds leave it open.
class RangeCollector final : public Collector {
 public:
  // What is found beyond `most_found` goes to the pile, if there is one.
  RangeCollector(const KernelTable& kernels, const Request& request, const Bounds& bounds, QueryBatch& batch,
                 bool counts, std::size_t most_found, HitPile* pile)
      : bounds_(bounds),
        batch_(batch),
        scorer_(kernels, request, batch),
        key_(request.has_threshold ? score_to_key(request.metric, request.threshold) : -INFINITY),
        takes_nan_(!request.has_threshold),
        counts_(counts),
        most_found_(most_found),
        pile_(pile),
        counted(counts ? batch.size() : 0) {}

  void take(std::span<const Candidate> candidates) override {
    for (const Candidate& candidate : candidates) {
      const KeyBounds key = candidate.is_rough() ? near(candidate) : candidate.key;
      if (key.upper < key_) continue;
      if (counts_ && key.lower >= key_) {
        ++counted[candidate.query];
        continue;
      }
      meet(candidate.query, candidate.row);
    }
  }
  void meet(std::size_t query, std::int64_t row) {
    const float key = scorer_.key(query, row);
    if (!(key >= key_) && !(takes_nan_ && std::isnan(key))) return;
    if (counts_) {
      ++counted[query];
    } else {
      if (found.size() == most_found_) give_way();
      found.push_back({Hit(key, row), static_cast<std::uint32_t>(query)});
    }
  }

  // Hands what was found of the only query to the pile, which may know by then what is not wanted any more.
  void flush() {
    pile_->append(found);
    found.clear();
    if (const float least = pile_->least(); least > key_) {
      key_ = least;
      batch_.raise_threshold(0, bounds_.threshold(least, batch_.scale(0)));
    }
  }

 private:
  void give_way() {
    if (pile_ == nullptr) throw TooManyFound();
    flush();
  }
  // Bounds from a product in float32, none where that says nothing.
  [[nodiscard]] KeyBounds near(const Candidate& candidate) {
    if (!bounds_.can_scan(candidate.norm)) return {-INFINITY, INFINITY};
    const float product = scorer_.product(candidate.query, candidate.row);
    return bounds_.key_bounds(product, candidate.norm, batch_.scale(candidate.query));
  }

  const Bounds& bounds_;
  QueryBatch& batch_;
  Scorer scorer_;
  float key_;  // the least that is wanted
  bool takes_nan_;
  bool counts_;
  std::size_t most_found_;
  HitPile* pile_;

 public:
  std::vector<Found> found;
  std::vector<std::int64_t> counted;
};

// A batch's search.
class RangeSearch {
 public:
  RangeSearch(const KernelTable& kernels, const Request& request, const Bounds& bounds, std::size_t first,
              std::size_t count)
      : kernels_(kernels),
        request_(request),
        bounds_(bounds),
        batch_(kernels, request, bounds, first, count),
        scan_(kernels, request, bounds, batch_) {}

  // Counts of the batch's queries, or appends its results to `result`. Returns the first bad row, or -1. TooManyFound
  // before anything was appended, if there are several queries.
  std::int64_t search(std::int64_t* counts, RangeResult* result) {
    HitPile pile(request_);
    const bool alone = batch_.size() == 1;
    std::vector<std::unique_ptr<RangeCollector>> collectors = collect(counts != nullptr, alone ? &pile : nullptr);
    for (const auto& collector : collectors) {
      for (std::size_t q = 0; q < collector->counted.size(); ++q) counts[q] += collector->counted[q];
    }
    if (result != nullptr && alone) {
      pile.sort();
      found_ = pile.size();
      result->offsets.push_back(result->offsets.back() + static_cast<std::int64_t>(found_));
      pile.take(found_, result->scores.extend(found_), result->rows.extend(found_));
    } else if (result != nullptr) {
      arrange(collectors, *result);
    }
    return scan_.bad_row();
  }

  // Of the only query, into the pile.
  std::int64_t search(HitPile& pile) {
    collect(false, &pile);
    pile.sort();
    return scan_.bad_row();
  }

  // How many results were appended.
  [[nodiscard]] std::size_t found() const noexcept { return found_; }

 private:
  // What the workers found, but for what went to the pile: all, if there is one.
  std::vector<std::unique_ptr<RangeCollector>> collect(bool counts, HitPile* pile) {
    const double operations = static_cast<double>(batch_.size()) *
                              static_cast<double>(request_.index.rows * request_.index.depth) * scan_.cost();
    const int blocks = static_cast<int>(std::clamp<std::size_t>(scan_.blocks(), 1, 4096));
    const int workers = std::min(useful_workers(request_, operations), blocks);
    const std::size_t most_found = pile != nullptr ? kMostKept : kMostFound / static_cast<std::size_t>(workers);
    std::vector<std::unique_ptr<RangeCollector>> collectors;
    collectors.reserve(static_cast<std::size_t>(workers));
    for (int w = 0; w < workers; ++w) {
      collectors.push_back(
          std::make_unique<RangeCollector>(kernels_, request_, bounds_, batch_, counts, most_found, pile));
    }
    scan_.share_among(workers, {batch_.panels(), batch_.width(), 1});
    std::vector<std::size_t> unscannable;
    for (std::size_t query = 0; query < batch_.size(); ++query) {
      if (!batch_.scale(query).scannable) unscannable.push_back(query);
    }
    std::atomic<std::size_t> next_piece{0};
    run(request_, workers, operations * 4, [&](int worker, const support::StopFlag& stop) {
      RangeCollector& collector = *collectors[static_cast<std::size_t>(worker)];
      scan_.work(worker, collector, stop);
      meet_unscanned(collector, stop);
      meet_all(unscannable, next_piece, collector, stop);
      if (pile != nullptr) collector.flush();
    });
    return collectors;
  }

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

  // The queries that the scan could not take, a piece of the rows after the other.
  void meet_all(const std::vector<std::size_t>& queries, std::atomic<std::size_t>& next_piece,
                RangeCollector& collector, const support::StopFlag& stop) const {
    constexpr std::size_t kPiece = 256;
    const std::size_t rows = request_.index.rows, pieces = (rows + kPiece - 1) / kPiece;
    for (std::size_t piece = 0; (piece = next_piece.fetch_add(1)) < queries.size() * pieces;) {
      const std::size_t query = queries[piece / pieces], begin = piece % pieces * kPiece;
      for (std::size_t row = begin; row < std::min(rows, begin + kPiece); ++row) {
        if (stop.load(std::memory_order_relaxed)) return;
        if (request_.mask != nullptr && request_.mask[row] == 0) continue;
        if (request_.admits(batch_.first() + query, row)) collector.meet(query, static_cast<std::int64_t>(row));
      }
    }
  }

  // Appends what the workers found of several queries, by query and best first, and frees their lists as it goes.
  void arrange(std::vector<std::unique_ptr<RangeCollector>>& collectors, RangeResult& result) {
    std::vector<std::size_t> next(batch_.size() + 1, 0);
    for (const auto& collector : collectors) {
      for (const Found& one : collector->found) ++next[one.query + 1];
    }
    for (std::size_t q = 0; q < batch_.size(); ++q) next[q + 1] += next[q];
    const std::vector<std::size_t> begins = next;
    std::vector<Exact> all(begins.back());
    found_ = all.size();
    for (auto& collector : collectors) {
      for (const auto& [hit, query] : collector->found) {
        all[next[query]++] = {hit.key(), request_.rank(hit.row()), hit.row()};
      }
      collector.reset();
    }
    const auto body = [&](std::size_t q) {
      std::sort(all.begin() + static_cast<std::ptrdiff_t>(begins[q]),
                all.begin() + static_cast<std::ptrdiff_t>(begins[q + 1]), better);
    };
    std::atomic<std::size_t> next_query{0};
    const double work = static_cast<double>(all.size()) * 100;
    run(request_, useful_workers(request_, work), work, [&](int, const support::StopFlag& stop) {
      for (std::size_t q = 0; (q = next_query.fetch_add(1)) < batch_.size() && !stop.load();) body(q);
    });
    for (std::size_t q = 0; q < batch_.size(); ++q) {
      result.offsets.push_back(result.offsets.back() + static_cast<std::int64_t>(begins[q + 1] - begins[q]));
    }
    float* scores = result.scores.extend(all.size());
    std::int64_t* rows = result.rows.extend(all.size());
    for (const Exact& one : all) {
      *scores++ = key_to_score(request_.metric, one.key);
      *rows++ = one.row;
    }
  }

  const KernelTable& kernels_;
  const Request& request_;
  const Bounds& bounds_;
  QueryBatch batch_;
  BlockScan scan_;
  std::size_t found_ = 0;
};

// Calls each(search, first query) for every batch until one meets a bad row.
template <class Each>
BadRows for_batches(const Request& request, const Each& each) {
  const support::DefaultFloatEnvironment environment;
  const KernelTable& kernels = cpu::kernels();
  BadRows bad;
  bad.query = first_bad_query(kernels, request);
  if (bad.query >= 0) return bad;
  const Bounds bounds(request.metric, request.index.depth);
  const std::size_t most = batch_size(request, 0);
  const std::size_t fewest = kMostFound / (2 * kFewerQueries * static_cast<std::size_t>(request.workers)) + 1;
  Ticker tick(request.tick);
  for (std::size_t first = 0, step = most; first < request.queries.rows; tick()) {
    step = std::min(step, request.queries.rows - first);
    bool few = false;
    try {
      RangeSearch search(kernels, request, bounds, first, step);
      bad.index = each(search, first);
      if (bad.index >= 0) break;
      few = search.found() < fewest;
    } catch (const TooManyFound&) {
      step = (step + kFewerQueries - 1) / kFewerQueries;
      continue;
    }
    first += step;
    if (few) step = std::min(most, step * kFewerQueries);
  }
  return bad;
}

}  // namespace

RangeResult range_search(const Request& request) {
  RangeResult result;
  result.offsets.push_back(0);
  result.bad = for_batches(request, [&](RangeSearch& search, std::size_t) { return search.search(nullptr, &result); });
  return result;
}

bool is_deep(const Request& request, std::size_t k) {
  const std::size_t lists = TopCandidates::capacity_for(k, request.index.rows) * sizeof(Bounded);
  return 2 * lists * static_cast<std::size_t>(request.workers) + k * 2 * sizeof(Exact) > kMostDeepBytes;
}

std::int64_t deep_topk(const Request& request, const Bounds& bounds, std::size_t k, float* scores, std::int64_t* rows) {
  const KernelTable& kernels = cpu::kernels();
  Ticker tick(request.tick);
  std::int64_t bad_row = -1;
  for (std::size_t query = 0; query < request.queries.rows && bad_row < 0; ++query, scores += k, rows += k) {
    HitPile pile(request, k);
    bad_row = RangeSearch(kernels, request, bounds, query, 1).search(pile);
    const std::size_t count = pile.size();
    pile.take(count, scores, rows);
    std::fill(scores + count, scores + k, key_to_score(request.metric, -INFINITY));
    std::fill(rows + count, rows + k, -1);
    tick();
  }
  return bad_row;
}

BadRows range_count(const Request& request, std::int64_t* counts) {
  std::fill_n(counts, request.queries.rows, 0);
  return for_batches(request,
                     [&](RangeSearch& search, std::size_t first) { return search.search(counts + first, nullptr); });
}

}  // namespace fastembed::search
