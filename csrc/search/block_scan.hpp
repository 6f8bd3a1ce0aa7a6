// The scan: blocks of rows against a batch of queries, by all workers. Products that reach their query's threshold go
// to a Collector; which rows can be dropped is decided here and in bounds.cpp alone.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/block_shares.hpp"
#include "search/coded_blocks.hpp"
#include "search/collector.hpp"
#include "search/panels.hpp"
#include "search/request.hpp"
#include "search/seeds.hpp"
#include "support/thread_pool.hpp"

namespace fastembed::search {

/// Blocks of rows, handed out to workers, all of them once for each group of panels.
class BlockScan {
 public:
  BlockScan(const KernelTable& kernels, const Request& request, const Bounds& bounds, QueryBatch& batch);

  [[nodiscard]] std::size_t blocks() const noexcept { return blocks_; }
  /// Of an element of a row and a query, in multiply-adds of a panel: a single query waits for the row to come.
  [[nodiscard]] double cost() const noexcept { return batch_.width() != 1 ? 1.0 : coded_ ? 2.0 : 4.0; }
  /// For a search of the k best, before the first worker begins.
  Seeds find_seeds(std::size_t k, int workers);
  /// Passes over the rows of a sample, which stay where they are, and expects their thresholds.
  void begin_with(const Seeds& seeds) noexcept {
    if (coded_) coded_->begin_with(seeds);
  }
  /// Groups of panels that so many workers are to take one each of, to meet all rows with; or one, which all take.
  [[nodiscard]] PanelGroups groups_for(int workers) const;
  /// Before the first of so many workers begins.
  void share_among(int workers, const PanelGroups& groups) {
    groups_ = groups;
    shares_.divide(blocks_ * groups.count(), workers);
  }
  /// Takes blocks, of its own group first, until there are none left.
  void work(int worker, Collector& collector, const support::StopFlag& stop);
  /// The first row with NaN or infinity that a query may find, -1 if none was met or if nobody asked.
  [[nodiscard]] std::int64_t bad_row() const noexcept { return bad_row_.load(); }

 private:
  // Rows of a block: in place, or gathered where a mask admits few. Null where the index keeps them narrower: they are
  // widened piece by piece, unless their codes are read.
  struct Block {
    const float* rows = nullptr;
    std::size_t stride = 0;
    std::size_t count = 0;
    std::size_t following = 0;              // rows of the same block behind these
    std::size_t first = 0;                  // row number of rows[0]
    const std::uint8_t* mask = nullptr;     // zero where a row is not admitted, or null: all are
    const std::int64_t* numbers = nullptr;  // row numbers, or null: consecutive
    [[nodiscard]] std::int64_t number(std::size_t r) const noexcept {
      return numbers != nullptr ? numbers[r] : static_cast<std::int64_t>(first + r);
    }
  };
  // One worker's memory.
  struct Room;

  [[nodiscard]] std::size_t begin_of(std::size_t block) const noexcept { return block * block_rows_; }
  bool load_block(std::size_t block, Room& room, Block& loaded) const;
  void find_norms(const Block& block, Room& room, Collector& collector);
  void judge_norm(const Block& block, std::size_t r, Room& room, Collector& collector);
  void add_candidate(const Block& block, std::size_t r, std::size_t query, float product, Room& room) const;
  void scan_block(const Block& block, std::size_t next, Room& room, Collector& collector);
  void scan_narrow(const Block& block, std::size_t next, Room& room, Collector& collector);
  void scan_float32(const Block& block, std::size_t next, Room& room, Collector& collector);
  bool scan_coded(const Block& block, std::size_t next, Room& room, Collector& collector);
  void scan_panels(const Block& block, std::size_t next, Room& room, Collector& collector);
  void scan_singles(const Block& block, Room& room, Collector& collector);
  void raise_at_once(const Block& block, std::size_t query, std::size_t k, Room& room);

  const KernelTable& kernels_;
  const Request& request_;
  const Bounds& bounds_;
  QueryBatch& batch_;
  bool filters_;  // beyond the shared mask
  bool from_memory_ = true;
  std::unique_ptr<CodedBlocks> coded_;
  std::size_t block_rows_ = 0;
  std::size_t float32_rows_ = 0;  // of these that are met in float32 at a time
  std::size_t piece_rows_ = 0;    // that are widened at a time
  std::size_t blocks_ = 0;
  PanelGroups groups_;
  BlockShares shares_;
  std::atomic<std::int64_t> bad_row_{-1};
};

}  // namespace fastembed::search
