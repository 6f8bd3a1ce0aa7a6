// Training with the same bits for any number of workers. The tiles of a chunk are taken in rounds: first
// every tile of the round is computed from the model as the round found it, then, after a barrier, the sums are added
// to the rows in the order of the tiles. How many tiles a round has, and how rows are divided into shards, depends on
// nothing but the text; workers only share the tiles and the shards out. No SIMD, no Python.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "support/barrier.hpp"
#include "train/tile_sums.hpp"
#include "train/tile_worker.hpp"
#include "train/window_trainer.hpp"

namespace fastembed::train {

/// Tiles that are computed from the same parameters, at most: so many workers can have work at once.
constexpr std::size_t kMostRoundTiles = 8;

/// How many tiles a round of this training has, from 1 to kMostRoundTiles: fewer the more a round would add to the rows
/// of one word. docs/training.md says where the rule comes from. Part of the result's definition.
std::size_t round_tile_count(std::span<const std::int64_t> corpus_counts, std::span<const std::int64_t> counts,
                             std::span<const std::uint32_t> keep_thresholds, const TrainConfig& config);

/// How many workers may train tiles of their own at once: tiles that are trained together do not know what the others
/// add to their rows, which where a few words make up the text is as much as their own steps.
int most_tile_workers(std::span<const std::int64_t> corpus_counts, std::span<const std::uint32_t> keep_thresholds,
                      const TrainConfig& config);

/// A part of an epoch, which all workers train together.
class TileRounds {
 public:
  /// `first_chunk` is the chunk at which part.start stands. `workers` is the number of threads that will call `work`.
  TileRounds(WindowTrainer& trainer, std::uint32_t epoch, int workers, std::size_t first_chunk, const EpochPart& part);

  /// The body of worker `number`; returns when the part is trained, the epoch is to pause, or `stop` is set.
  void work(int number, const support::StopFlag& stop);

 private:
  using Chunk = WindowTrainer::Chunk;

  struct Gathered {
    std::vector<void*> rows;
    std::vector<const float*> addends;
  };

  void run_rounds(int number, const support::StopFlag& stop);
  void compute(TileWorker& worker, int number, const support::StopFlag& stop);
  void add(Gathered& gathered);
  void advance() noexcept;
  bool next_chunk() noexcept;
  void begin_round() noexcept;
  [[nodiscard]] const ChunkLayout& layout() const noexcept { return layouts_[turn_]; }
  [[nodiscard]] std::size_t tile_count() const noexcept;

  WindowTrainer& trainer_;
  const KernelTable& kernels_;
  std::uint32_t epoch_;
  int workers_;
  std::chrono::steady_clock::time_point deadline_;
  std::uint64_t rounding_key_;
  support::Barrier barrier_;
  std::vector<TileSums> sums_;  // by tile of the round

  // What follows changes between rounds only, by the last worker at the barrier.
  std::array<ChunkLayout, 2> layouts_;  // of the chunk under way, and of the next, which is laid out meanwhile
  std::size_t turn_ = 0;                // which is which
  std::size_t next_chunk_;
  std::size_t round_begin_ = 0;  // tile of the chunk
  std::size_t round_tiles_ = 0;
  bool done_ = false;
  EpochTotals totals_;

  std::atomic<std::size_t> next_tile_{0};
  std::atomic<std::uint32_t> next_shard_{0};
};

}  // namespace fastembed::train
