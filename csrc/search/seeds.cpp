#include "search/seeds.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>

#include "search/batches.hpp"
#include "search/block_shares.hpp"
#include "search/candidates.hpp"
#include "search/coded_blocks.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kBlockRows = 256, kBlockGroups = kBlockRows / kCodeGroup;
constexpr std::size_t kMostCells = 8192, kMostValues = std::size_t{2} << 20;
constexpr double kPartialCandidates = 6;         // by medium codes, for one by whole ones
constexpr std::size_t kPartialShare = 32;        // the sample that these are worth is no greater share of the rows
constexpr std::size_t kLeastRefinedDepth = 256;  // of shorter rows the definition takes no longer
// Cells for each of the best rows: of two of these in one cell, one is lost.
constexpr std::size_t kLeastCells = 4, kGoodCells = 8;

// The number of a row in its cell is kept in the lowest bits of its estimate.
constexpr std::uint32_t kNumberBits = kBlockRows - 1;
float numbered(float estimate, std::size_t group) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(estimate);
  return std::bit_cast<float>((bits & ~(kNumberBits & ~(kCodeGroup - 1))) |
                              static_cast<std::uint32_t>(group * kCodeGroup));
}

// Blocks spread over the rows, in cells that are each represented by the row that looks best.
class Sample {
 public:
  Sample(const KernelTable& kernels, const Request& request, const QueryBatch& batch, const QueryCodes& queries,
         std::size_t k)
      : kernels_(kernels),
        request_(request),
        batch_(batch),
        queries_(queries),
        k_(k),
        tried_(k + k / 4 + 4),
        refines_(queries.refines() && request.index.depth >= kLeastRefinedDepth),
        space_(*request.codes->space) {}

  /// Decides on its size; false where none pays.
  bool choose();
  [[nodiscard]] std::size_t rows() const noexcept { return blocks_ * kBlockRows; }
  void find(int workers, Seeds& seeds);

 private:
  struct Room {
    std::vector<float> greatest, row_terms;
  };
  struct KeyRoom {
    Scorer scorer;
    std::vector<float> values;
    std::vector<std::uint32_t> good;  // cells
  };
  [[nodiscard]] Room make_room() const {
    const std::size_t terms = request_.metric == Metric::kL2 ? kBlockRows : 0;
    return {std::vector<float>(kBlockGroups * batch_.width()), std::vector<float>(terms)};
  }
  [[nodiscard]] std::size_t first_row(std::size_t block) const noexcept {
    const std::size_t last = request_.codes->rows - kBlockRows;
    return block * last / std::max<std::size_t>(blocks_ - 1, 1) / kCodeGroup * kCodeGroup;
  }
  [[nodiscard]] std::size_t all_queries() const noexcept { return batch_.panels() * batch_.width(); }
  void meet_panel(const CodesIn& at, std::size_t p, Room& room) const;
  void meet(std::size_t block, Room& room);
  void find_key(std::size_t query, KeyRoom& room, Seeds& seeds) const;
  void prefetch(std::int64_t row, const Scorer& scorer) const noexcept;
  [[nodiscard]] KeyBounds key_of(std::size_t query, std::int64_t row, Scorer& scorer) const noexcept;

  const KernelTable& kernels_;
  const Request& request_;
  const QueryBatch& batch_;
  const QueryCodes& queries_;
  std::size_t k_;
  std::size_t tried_;  // rows that are scored
  bool refines_;       // by their residuals
  const CodeSpace& space_;
  std::size_t blocks_ = 0;
  std::size_t cell_groups_ = 1;
  std::size_t cells_ = 0;
  std::vector<float> values_;  // cells_ a query
};

// When m rows were met, k / m of those still to come will be candidates: the sample is as large as its last row costs
// what it saves.
bool Sample::choose() {
  const std::size_t most_blocks = request_.codes->rows / 4 / kBlockRows;
  if (most_blocks == 0) return false;
  Room room = make_room();
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t p = 0; p < batch_.panels(); ++p) meet_panel(request_.codes->at, p, room);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  const double row_cost = std::max(took.count() / (kBlockRows * static_cast<double>(batch_.size())), 1e-3);
  double wanted = static_cast<double>(k_) * hit_cost(request_.index.depth, queries_.refines()) / row_cost / kBlockRows;
  if (queries_.has_partial()) {
    const double most = static_cast<double>(request_.codes->rows / kPartialShare / kBlockRows);
    wanted = std::max(wanted, std::min(kPartialCandidates * wanted, most));
  }
  blocks_ = static_cast<std::size_t>(std::clamp(wanted, 1.0, static_cast<double>(most_blocks)));
  const std::size_t most_cells = std::min(kMostCells, kMostValues / all_queries());
  const std::size_t good = std::clamp(kGoodCells * tried_, std::size_t{1}, most_cells);
  cell_groups_ = std::min(std::bit_ceil((blocks_ * kBlockGroups + good - 1) / good), kBlockGroups);
  blocks_ = std::min(blocks_, most_cells * cell_groups_ / kBlockGroups);
  cells_ = blocks_ * kBlockGroups / cell_groups_;
  return cells_ >= kLeastCells * tried_;
}

void Sample::meet_panel(const CodesIn& at, std::size_t p, Room& room) const {
  const float* const row_terms = room.row_terms.empty() ? nullptr : room.row_terms.data();
  const CodeScan scan{at.codes,
                      space_.stride(),
                      queries_.panel(p),
                      queries_.corrections(p),
                      at.scales,
                      at.lengths,
                      at.errors,
                      row_terms,
                      nullptr,
                      queries_.slopes(p),
                      queries_.weights(p),
                      queries_.units(p),
                      nullptr,
                      nullptr,
                      nullptr,
                      nullptr,
                      0,
                      0,
                      0,
                      0,
                      kBlockRows,
                      static_cast<std::uint32_t>(space_.padded()),
                      static_cast<std::uint32_t>(batch_.width())};
  const auto greatest = space_.kind() == CodeKind::kInt8 ? kernels_.greatest_codes : kernels_.greatest_bf16_codes;
  greatest(scan, room.greatest.data());
}

void Sample::meet(std::size_t block, Room& room) {
  const CodesIn at = request_.codes->at.from(first_row(block), space_);
  for (std::size_t r = 0; r < room.row_terms.size(); ++r) {
    room.row_terms[r] = queries_.row_term(at.squares[r], at.scales[r / kCodeGroup]);
  }
  const std::size_t width = batch_.width(), block_cells = kBlockGroups / cell_groups_;
  for (std::size_t p = 0; p < batch_.panels(); ++p) {
    meet_panel(at, p, room);
    for (std::size_t cell = 0; cell < block_cells; ++cell) {
      float* const greatest = room.greatest.data() + cell * cell_groups_ * width;
      for (std::size_t g = 0; g < cell_groups_; ++g) {
        const float* const group = greatest + g * width;
        for (std::size_t j = 0; j < width; ++j) {
          const float estimate = numbered(group[j], g);
          greatest[j] = g == 0 ? estimate : std::max(greatest[j], estimate);
        }
      }
    }
    for (std::size_t j = 0; j < width; ++j) {
      float* const to = values_.data() + (p * width + j) * cells_ + block * block_cells;
      for (std::size_t cell = 0; cell < block_cells; ++cell) to[cell] = room.greatest[cell * cell_groups_ * width + j];
    }
  }
}

// What key_of will read of a row.
void Sample::prefetch(std::int64_t row, const Scorer& scorer) const noexcept {
  if (!refines_) return scorer.prefetch(row);
  queries_.prefetch(request_.codes->at, static_cast<std::size_t>(row));
}

// Bounds on a row's key: by its residuals, if there are any, or its key itself.
KeyBounds Sample::key_of(std::size_t query, std::int64_t row, Scorer& scorer) const noexcept {
  if (refines_) {
    const CodesIn& at = request_.codes->at;
    Candidate candidate{query, row, {}, NAN, MetBy::kCodes};
    const std::int32_t product = queries_.refined_product(kernels_, at, query, static_cast<std::size_t>(row));
    if (queries_.refine(at, product, candidate) && !candidate.is_rough()) return candidate.key;
  }
  const float key = scorer.key(query, row);
  return std::isnan(key) ? KeyBounds{-INFINITY, -INFINITY} : KeyBounds{key, key};
}

// The k-th greatest key that the rows that look best are certain to have, and those that may reach it.
void Sample::find_key(std::size_t query, KeyRoom& room, Seeds& seeds) const {
  constexpr std::size_t kAhead = 6;
  Scorer& scorer = room.scorer;
  std::vector<float>& values = room.values;
  const std::size_t block_cells = kBlockGroups / cell_groups_;
  std::int64_t* const rows = seeds.rows.data() + query * tried_;
  KeyBounds* const keys = seeds.row_keys.data() + query * tried_;
  std::copy_n(values_.data() + query * cells_, cells_, values.data());
  std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(cells_), kRowPadding, -INFINITY);
  const float least = kernels_.kth_greatest_f32(values.data(), cells_, tried_);
  std::size_t good = 0, count = 0;
  for (std::uint32_t cell = 0; cell < cells_; ++cell) {  // without a branch: they are few, anywhere
    room.good[good] = cell;
    good += values[cell] >= least ? 1 : 0;
  }
  for (std::size_t i = 0; i < good && count < tried_; ++i) {
    const std::size_t cell = room.good[i];
    const std::size_t number = std::bit_cast<std::uint32_t>(values[cell]) & kNumberBits;
    const std::size_t row = first_row(cell / block_cells) + cell % block_cells * cell_groups_ * kCodeGroup + number;
    if (request_.admits(batch_.first() + query, row)) rows[count++] = static_cast<std::int64_t>(row);
  }
  if (count < k_) return;
  if (request_.counts != nullptr) request_.counts->sampled += static_cast<std::int64_t>(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) prefetch(rows[i + kAhead], scorer);
    keys[i] = key_of(query, rows[i], scorer);
    values[i] = keys[i].lower;
  }
  std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(count), kRowPadding, -INFINITY);
  const float key = kernels_.kth_greatest_f32(values.data(), count, k_);
  if (key == -INFINITY) return;
  seeds.keys[query] = key;
  std::uint32_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    rows[kept] = rows[i];
    keys[kept] = keys[i];
    kept += keys[i].upper >= key ? 1 : 0;
  }
  seeds.counts[query] = kept;
}

void Sample::find(int workers, Seeds& seeds) {
  values_.resize(all_queries() * cells_);
  seeds.places = tried_;
  seeds.rows.resize(batch_.size() * tried_);
  seeds.row_keys.resize(batch_.size() * tried_);
  seeds.counts.resize(batch_.size());
  seeds.groups.resize(request_.index.rows / kCodeGroup + 1);
  for (std::size_t block = 0; block < blocks_; ++block) {
    const auto first = seeds.groups.begin() + static_cast<std::ptrdiff_t>(first_row(block) / kCodeGroup);
    std::fill_n(first, kBlockGroups, true);
  }
  const auto queries = static_cast<double>(batch_.size()), depth = static_cast<double>(request_.index.depth);
  const double operations = queries * depth * static_cast<double>(rows()) / 4;
  std::atomic<std::size_t> next_block{0};
  BlockShares shares;  // of queries, as a search's workers have them
  shares.divide(batch_.size(), workers);
  run(request_, workers, operations, [&](int, const support::StopFlag& stop) {
    Room room = make_room();
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t block = next_block.fetch_add(1, std::memory_order_relaxed);
      if (block >= blocks_) return;
      meet(block, room);
    }
  });
  run(request_, workers, operations, [&](int worker, const support::StopFlag& stop) {
    KeyRoom room{Scorer(kernels_, request_, batch_), std::vector<float>(cells_ + kRowPadding),
                 std::vector<std::uint32_t>(cells_ + 1)};
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t query = shares.take(worker);
      if (query >= batch_.size()) return;
      find_key(query, room, seeds);
    }
  });
}

}  // namespace

Seeds find_seeds(const KernelTable& kernels, const Request& request, const QueryBatch& batch, const QueryCodes& queries,
                 std::size_t k, int workers) {
  if (request.codes == nullptr || batch.width() == 1) return {};
  if (request.mask != nullptr || request.query_masks != nullptr) return {};
  Sample sample(kernels, request, batch, queries, k);
  if (!sample.choose()) return {};
  Seeds seeds;
  seeds.keys.assign(batch.size(), -INFINITY);
  seeds.sampled = sample.rows();
  sample.find(workers, seeds);
  return seeds;
}

}  // namespace fastembed::search
