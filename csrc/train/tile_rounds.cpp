#include "train/tile_rounds.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/dispatch.hpp"
#include "support/cpu_budget.hpp"
#include "support/rng.hpp"

namespace fastembed::train {

namespace {

// Input and context pairs of a tile that is full.
double tile_pairs(const TrainConfig& config) noexcept {
  return kTilePositions * (config.shrink_windows ? config.window + 1.0 : 2.0 * config.window);
}

// Occurrences of a word that subsampling keeps, on average.
double kept_count(std::int64_t count, std::uint32_t keep_threshold) noexcept {
  return static_cast<double>(count) * 0x1p-32 * keep_threshold;
}

}  // namespace

std::size_t round_tile_count(std::span<const std::int64_t> corpus_counts, std::span<const std::int64_t> counts,
                             std::span<const std::uint32_t> keep_thresholds, const TrainConfig& config) {
  // A round's updates of one row, in units of the learning rate 0.025, that training has been seen to bear with ease.
  constexpr double kMostUpdates = 6;
  constexpr double kUsualRate = 0.025;
  double kept_most = 0, kept_total = 0, drawn_most = 0, drawn_total = 0;
  for (std::size_t word = 0; word < counts.size(); ++word) {
    const double kept = kept_count(corpus_counts[word], keep_thresholds[word]);
    const double drawn = counts[word] > 0 ? std::pow(static_cast<double>(counts[word]), config.ns_exponent) : 0.0;
    kept_most = std::max(kept_most, kept);
    kept_total += kept;
    drawn_most = std::max(drawn_most, drawn);
    drawn_total += drawn;
  }
  const double kept = kept_total > 0 ? kept_most / kept_total : 0.0;
  const double drawn = drawn_total > 0 ? drawn_most / drawn_total : 0.0;
  const double as_input = kept * (1.0 + config.negative);
  const double as_output = kept + config.negative * drawn;  // most of these pairs are negatives, whose slope is small
  const double updates =
      tile_pairs(config) * std::max(as_input, as_output / 2) * config.alpha * config.alpha / kUsualRate;
  return static_cast<std::size_t>(std::clamp(kMostUpdates / updates, 1.0, static_cast<double>(kMostRoundTiles)));
}

int most_tile_workers(std::span<const std::int64_t> corpus_counts, std::span<const std::uint32_t> keep_thresholds,
                      const TrainConfig& config) {
  constexpr double kMostLoad = 6;  // of all tiles at once; with 4 to 16 words two workers had more, and came to NaN
  double total = 0, squares = 0;
  for (std::size_t word = 0; word < corpus_counts.size(); ++word) {
    const double kept = kept_count(corpus_counts[word], keep_thresholds[word]);
    total += kept;
    squares += kept * kept;
  }
  if (squares == 0) return 1;
  // Of the words of a tile, each by its share of the kept text: one over their number where all are alike.
  const double load = config.alpha * tile_pairs(config) * (1.0 + config.negative) * squares / (total * total);
  return static_cast<int>(std::clamp(kMostLoad / load, 1.0, 1e6));
}

TileRounds::TileRounds(WindowTrainer& trainer, std::uint32_t epoch, int workers, std::size_t first_chunk,
                       const EpochPart& part)
    : trainer_(trainer),
      kernels_(cpu::kernels()),
      epoch_(epoch),
      workers_(workers),
      deadline_(part.deadline),
      rounding_key_(support::stream_key(trainer.config_.seed, support::Stream::kPools, epoch)),
      barrier_(workers, workers <= support::usable_cpu_count()),
      next_chunk_(first_chunk),
      totals_(part.start) {
  const std::size_t slots = tile_sum_slots(trainer.config_, trainer.model_.format());
  sums_.reserve(trainer.round_tiles_);
  for (std::size_t tile = 0; tile < trainer.round_tiles_; ++tile) sums_.emplace_back(slots, trainer.model_.depth());
  trainer_.publish(totals_);
  begin_round();  // of an empty chunk: all that it does is to lay out the first one
}

void TileRounds::work(int number, const support::StopFlag& stop) {
  try {
    run_rounds(number, stop);
  } catch (...) {
    barrier_.abandon();
    throw;
  }
}

// The flag may be set at any time; only the last worker at a barrier decides for all, or the others would wait for one
// that has left.
void TileRounds::run_rounds(int number, const support::StopFlag& stop) {
  TileWorker worker(trainer_, epoch_);
  Gathered gathered;
  const auto computed = [&]() noexcept { done_ = stop.load(std::memory_order_relaxed); };
  const auto added = [&]() noexcept {
    advance();
    done_ = done_ || stop.load(std::memory_order_relaxed);
  };
  while (true) {
    compute(worker, number, stop);
    if (!barrier_.arrive(computed) || done_) return;
    add(gathered);
    if (!barrier_.arrive(added) || done_) return;
  }
}

std::size_t TileRounds::tile_count() const noexcept {
  return (layout().kept_count + kTilePositions - 1) / kTilePositions;
}

// The first tile of a worker is fixed, so that it can be prepared and prefetched in the round before; the others go to
// whoever is free. The last worker lays out the next chunk before it takes its tile.
void TileRounds::compute(TileWorker& worker, int number, const support::StopFlag& stop) {
  if (round_begin_ == 0) {
    worker.use(layout());
    const auto& chunks = trainer_.chunks_;
    if (number == workers_ - 1 && next_chunk_ < chunks.size()) {
      worker.lay_windows(chunks[next_chunk_], layouts_[turn_ ^ 1]);
    }
  }
  const auto own = static_cast<std::size_t>(number);
  for (std::size_t tile = own; tile < round_tiles_ && !stop.load(std::memory_order_relaxed);) {
    const std::size_t claimed = next_tile_.fetch_add(1, std::memory_order_relaxed);
    const std::size_t next = round_begin_ + (claimed < round_tiles_ ? claimed : round_tiles_ + own);
    worker.sum_tile((round_begin_ + tile) * kTilePositions,
                    next < tile_count() ? next * kTilePositions : TileWorker::kNoTile, sums_[tile]);
    tile = claimed;
  }
}

void TileRounds::add(Gathered& gathered) {
  if (round_tiles_ == 0) return;
  const auto round = static_cast<std::uint64_t>(layout().position(round_begin_ * kTilePositions));
  const auto claim = [this] { return next_shard_.fetch_add(1, std::memory_order_relaxed); };
  for (std::uint32_t shard = claim(); shard < TileSums::kShards; shard = claim()) {
    gathered.rows.clear();
    gathered.addends.clear();
    for (std::size_t tile = 0; tile < round_tiles_; ++tile) {
      const auto rows = sums_[tile].rows(shard);
      const auto addends = sums_[tile].addends(shard);
      gathered.rows.insert(gathered.rows.end(), rows.begin(), rows.end());
      gathered.addends.insert(gathered.addends.end(), addends.begin(), addends.end());
    }
    kernels_.add_rows({.rows = gathered.rows.data(),
                       .sums = gathered.addends.data(),
                       .rounding_seed = support::draw(rounding_key_, round * TileSums::kShards + shard),
                       .count = gathered.rows.size(),
                       .depth = static_cast<std::uint32_t>(trainer_.model_.depth()),
                       .row_format = trainer_.model_.format()});
  }
}

void TileRounds::advance() noexcept {
  for (std::size_t tile = 0; tile < round_tiles_; ++tile) totals_.loss += sums_[tile].loss.total;
  round_begin_ += round_tiles_;
  if (round_begin_ >= tile_count() && !next_chunk()) {
    done_ = true;
    return;
  }
  begin_round();
}

// Ends the chunk. False when the epoch ends or pauses here.
bool TileRounds::next_chunk() noexcept {
  const std::int64_t trained = layout().token_count;  // none in the empty chunk at the beginning
  totals_.token_count += trained;
  totals_.center_count += static_cast<std::int64_t>(layout().kept_count);
  totals_.positive_count += layout().positive_count;
  trainer_.publish(totals_);
  if (trained != 0 && std::chrono::steady_clock::now() >= deadline_) trainer_.pause();
  if (trainer_.pausing_.load(std::memory_order_relaxed) || next_chunk_ >= trainer_.chunks_.size()) return false;
  ++next_chunk_;
  turn_ ^= 1;
  round_begin_ = 0;
  return true;
}

void TileRounds::begin_round() noexcept {
  round_tiles_ = std::min(trainer_.round_tiles_, tile_count() - round_begin_);
  next_tile_.store(static_cast<std::size_t>(workers_), std::memory_order_relaxed);
  next_shard_.store(0, std::memory_order_relaxed);
}

}  // namespace fastembed::train
