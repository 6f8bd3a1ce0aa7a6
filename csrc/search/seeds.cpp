#include "search/seeds.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>

#include "search/batches.hpp"
#include "search/coded_blocks.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kBlockRows = 256, kBlockGroups = kBlockRows / kCodeGroup;
constexpr std::size_t kMostCells = 8192, kMostValues = std::size_t{2} << 20;
// Cells for each of the k: of two of the k best in one cell, one is lost.
constexpr std::size_t kLeastCells = 4, kGoodCells = 32;

// The sample: blocks spread over the rows, in cells that are each represented by their greatest.
class Sample {
 public:
  Sample(const KernelTable& kernels, const Request& request, const QueryBatch& batch, const QueryCodes& queries,
         std::size_t k)
      : kernels_(kernels), request_(request), batch_(batch), queries_(queries), k_(k) {}

  /// Decides on its size; false where none pays.
  bool choose();
  void find_keys(int workers, std::vector<float>& keys);

 private:
  struct Room {
    std::vector<float> greatest, row_terms;
  };
  [[nodiscard]] std::size_t first_row(std::size_t block) const noexcept {
    return block * (request_.codes->rows - kBlockRows) / std::max<std::size_t>(blocks_ - 1, 1) / kCodeGroup *
           kCodeGroup;
  }
  [[nodiscard]] std::size_t all_queries() const noexcept { return batch_.panels() * batch_.width(); }
  void meet_panel(const CodesIn& at, std::size_t p, Room& room) const;
  void meet(std::size_t block, Room& room);
  [[nodiscard]] Room make_room() const;

  const KernelTable& kernels_;
  const Request& request_;
  const QueryBatch& batch_;
  const QueryCodes& queries_;
  std::size_t k_;
  std::size_t blocks_ = 0;
  std::size_t cell_groups_ = 1;
  std::size_t pitch_ = 0;  // values of a query
  std::vector<float> values_;
};

Sample::Room Sample::make_room() const {
  return {std::vector<float>(kBlockGroups * batch_.width()),
          std::vector<float>(request_.metric == Metric::kL2 ? kBlockRows : 0)};
}

// A candidate saved is k / m of the rows that are left, when m rows were met: the sample should cost what one more of
// its rows saves.
bool Sample::choose() {
  const std::size_t rows = request_.codes->rows, most_blocks = rows / 4 / kBlockRows;
  if (most_blocks == 0) return false;
  Room room = make_room();
  const auto begin = std::chrono::steady_clock::now();
  const CodesIn at = request_.codes->at;
  for (std::size_t p = 0; p < batch_.panels(); ++p) meet_panel(at, p, room);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  const double row_cost = std::max(took.count() / (kBlockRows * static_cast<double>(batch_.size())), 1e-3);
  const double wanted = static_cast<double>(k_) * hit_cost(request_.index.depth) / row_cost / kBlockRows;
  blocks_ = static_cast<std::size_t>(std::clamp(wanted, 1.0, static_cast<double>(most_blocks)));
  const std::size_t groups = blocks_ * kBlockGroups;
  const std::size_t most_cells = std::min(kMostCells, kMostValues / all_queries());
  const std::size_t cells = std::clamp(kGoodCells * k_, std::size_t{1}, most_cells);
  cell_groups_ = std::min(std::bit_ceil((groups + cells - 1) / cells), kBlockGroups);
  blocks_ = std::min(blocks_, most_cells * cell_groups_ / kBlockGroups);
  pitch_ = blocks_ * kBlockGroups / cell_groups_;
  return pitch_ >= kLeastCells * k_;
}

void Sample::meet_panel(const CodesIn& at, std::size_t p, Room& room) const {
  const CodeSpace& space = *request_.codes->space;
  const CodeScan scan{at.codes,
                      space.stride(),
                      queries_.panel(p),
                      queries_.corrections(p),
                      at.scales,
                      at.lengths,
                      at.errors,
                      room.row_terms.empty() ? nullptr : room.row_terms.data(),
                      nullptr,
                      queries_.slopes(p),
                      queries_.weights(p),
                      queries_.units(p),
                      nullptr,
                      nullptr,
                      0,
                      kBlockRows,
                      static_cast<std::uint32_t>(space.padded()),
                      static_cast<std::uint32_t>(batch_.width())};
  const auto greatest = space.kind() == CodeKind::kInt8 ? kernels_.greatest_codes : kernels_.greatest_bf16_codes;
  greatest(scan, room.greatest.data());
}

void Sample::meet(std::size_t block, Room& room) {
  const CodesIn at = request_.codes->at.from(first_row(block), request_.codes->space->stride());
  for (std::size_t r = 0; r < room.row_terms.size(); ++r) {
    room.row_terms[r] = queries_.greatest_row_term(at.squares[r], at.scales[r / kCodeGroup]);
  }
  const std::size_t width = batch_.width(), cells = kBlockGroups / cell_groups_;
  for (std::size_t p = 0; p < batch_.panels(); ++p) {
    meet_panel(at, p, room);
    for (std::size_t cell = 0; cell < cells; ++cell) {
      float* const greatest = room.greatest.data() + cell * cell_groups_ * width;
      for (std::size_t g = 1; g < cell_groups_; ++g) {
        for (std::size_t j = 0; j < width; ++j) greatest[j] = std::max(greatest[j], greatest[g * width + j]);
      }
      float* const to = values_.data() + p * width * pitch_ + block * cells + cell;
      for (std::size_t j = 0; j < width; ++j) to[j * pitch_] = greatest[j];
    }
  }
}

void Sample::find_keys(int workers, std::vector<float>& keys) {
  values_.resize(all_queries() * pitch_);
  const auto queries = static_cast<double>(batch_.size()), depth = static_cast<double>(request_.index.depth);
  const double operations = queries * depth * static_cast<double>(blocks_ * kBlockRows) / 4;
  std::atomic<std::size_t> next_block{0}, next_query{0};
  run(request_, workers, operations, [&](int, const support::StopFlag& stop) {
    Room room = make_room();
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t block = next_block.fetch_add(1, std::memory_order_relaxed);
      if (block >= blocks_) return;
      meet(block, room);
    }
  });
  run(request_, workers, queries * static_cast<double>(pitch_) * 8, [&](int, const support::StopFlag&) {
    std::vector<float> values(pitch_ + kRowPadding, -INFINITY);
    for (;;) {
      const std::size_t query = next_query.fetch_add(1, std::memory_order_relaxed);
      if (query >= batch_.size()) return;
      std::copy_n(values_.data() + query * pitch_, pitch_, values.data());
      keys[query] = queries_.least_key(query, kernels_.kth_greatest_f32(values.data(), pitch_, k_));
    }
  });
}

}  // namespace

std::vector<float> seed_keys(const KernelTable& kernels, const Request& request, const QueryBatch& batch,
                             const QueryCodes& queries, std::size_t k, int workers) {
  if (request.codes == nullptr || batch.width() == 1) return {};
  if (request.mask != nullptr || request.query_masks != nullptr) return {};
  Sample sample(kernels, request, batch, queries, k + (request.self_first >= 0 ? 1 : 0));
  if (!sample.choose()) return {};
  std::vector<float> keys(batch.size(), -INFINITY);
  sample.find_keys(workers, keys);
  return keys;
}

}  // namespace fastembed::search
