#include "train/tile_worker.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "cpu/dispatch.hpp"
#include "support/rng.hpp"

namespace fastembed::train {

using support::draw;
using support::Stream;
using support::stream_key;

namespace {

constexpr std::int64_t kThresholdLookahead = 32;  // tokens; the table of a large vocabulary lies beyond L2

}  // namespace

std::uint32_t tile_negative_count(const TrainConfig& config) noexcept {
  const std::uint64_t windows = config.shrink_windows ? config.window + 1 : 2 * config.window;
  const std::uint64_t draws = tile_round_up(config.negative * windows, kTileRows);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(draws, 256));
}

TileWorker::TileWorker(WindowTrainer& trainer, std::uint32_t epoch)
    : trainer_(trainer),
      config_(trainer.config_),
      kernels_(cpu::kernels()),
      epoch_(epoch),
      token_key_(stream_key(config_.seed, Stream::kTokens, epoch)),
      negative_key_(stream_key(config_.seed, Stream::kNegatives, epoch)),
      rounding_key_(stream_key(config_.seed, Stream::kPools, epoch)),
      negative_count_(tile_negative_count(config_)),
      center_count_(tile_center_rows(config_.window)),
      negative_weight_(static_cast<float>(config_.negative) / static_cast<float>(negative_count_)),
      special_(std::size_t{negative_count_} * kTilePositions),
      padding_row_(trainer.model_.row_bytes()),
      workspace_(tile_workspace_floats(config_.window, negative_count_, trainer.model_.depth())) {
  for (Tile& tile : tiles_) {
    tile.center_rows.resize(center_count_);
    tile.center_contexts.resize(center_count_);
    tile.center_words.resize(center_count_);
    tile.negative_rows.resize(negative_count_);
    tile.negatives.resize(negative_count_);
    tile.special_weights.resize(negative_count_);
  }
  std::fill(std::begin(loss_.factor_lanes), std::end(loss_.factor_lanes), 1.0F);
}

// Subsampling happens before windows are laid, as in word2vec.c. Every token is written and the count then advanced or
// not: the decision is a coin toss, which a branch would mispredict.
void TileWorker::keep_piece(std::int64_t begin, std::int64_t end) {
  const auto first = static_cast<std::int32_t>(kept_count_);
  const std::int32_t* const ids = trainer_.corpus_.ids.data();
  const std::uint32_t* const thresholds = trainer_.keep_thresholds_.data();
  const std::uint64_t span = config_.shrink_windows ? config_.window : 0;
  const auto least = static_cast<std::int32_t>(config_.shrink_windows ? 1 : config_.window);
  const auto last = static_cast<std::int64_t>(trainer_.corpus_.ids.size()) - 1;
  std::int32_t self = first;
  Kept* const kept = kept_.data();
  for (std::int64_t position = begin; position < end; ++position) {
    const std::int32_t word = ids[position];
    __builtin_prefetch(thresholds + ids[std::min(position + kThresholdLookahead, last)]);
    const std::uint64_t random = draw(token_key_, static_cast<std::uint64_t>(position));
    const std::uint64_t low = static_cast<std::uint32_t>(random);
    const std::int32_t reach = least + static_cast<std::int32_t>((low * span) >> 32);
    kept[self] = {position, word, self - reach, self + reach + 1};
    self += static_cast<std::uint32_t>(random >> 32) <= thresholds[word];
  }
  if (self - first < 2) return;
  for (std::int32_t i = first; i < self; ++i) {
    kept[i].context_begin = std::max(kept[i].context_begin, first);
    kept[i].context_end = std::min(kept[i].context_end, self);
  }
  kept_count_ = static_cast<std::size_t>(self);
}

void TileWorker::lay_windows(const WindowTrainer::Chunk& chunk) {
  const auto& offsets = trainer_.corpus_.offsets;
  kept_count_ = 0;
  if (kept_.size() <= static_cast<std::size_t>(chunk.end - chunk.begin)) kept_.resize(chunk.end - chunk.begin + 1);
  std::int64_t sentence = chunk.sentence;
  for (std::int64_t begin = chunk.begin; begin < chunk.end;) {
    while (offsets[sentence + 1] <= begin) ++sentence;
    const std::int64_t end = std::min(offsets[sentence + 1], begin + config_.max_sentence_length);
    keep_piece(begin, end);
    begin = end;
  }
  windows_.assign(kept_count_ + 1, 0);
  for (std::size_t i = 0; i < kept_count_; ++i) {
    const Kept& center = kept_[i];
    ++windows_[center.context_begin];
    --windows_[center.context_end];
    totals_.positive_count += center.context_end - center.context_begin - 1;
  }
  std::int32_t running = 0;
  for (std::int32_t& count : windows_) count = (running += count) - 1;  // a position is no context of itself
  totals_.center_count += static_cast<std::int64_t>(kept_count_);
}

namespace {

// Bits [begin, end) of 64, either of which may lie outside.
std::uint64_t bit_range(std::int64_t begin, std::int64_t end) noexcept {
  const auto below = [](std::int64_t bit) {
    return bit <= 0 ? 0 : bit >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bit) - 1;
  };
  return below(end) & ~below(begin);
}

}  // namespace

void TileWorker::prepare(Tile& tile, std::size_t first) {
  Model& model = trainer_.model_;
  const std::size_t inputs = std::min<std::size_t>(kTilePositions, kept_count_ - first);
  for (std::size_t i = 0; i < inputs; ++i) {
    tile.input_rows[i] = model.input_row(kept_[first + i].word);
    tile.input_weights[i] = negative_weight_ * static_cast<float>(windows_[first + i]);
  }
  for (std::size_t i = inputs; i < kTilePositions; ++i) {
    tile.input_rows[i] = padding_row_.data();
    tile.input_weights[i] = 0.0F;
  }
  const auto origin = static_cast<std::int64_t>(first);
  const auto window = static_cast<std::int64_t>(config_.window);
  for (std::size_t j = 0; j < center_count_; ++j) {
    const std::int64_t at = origin + static_cast<std::int64_t>(j) - window;
    if (at < 0 || at >= static_cast<std::int64_t>(kept_count_) || j >= kTilePositions + 2 * config_.window) {
      tile.center_rows[j] = padding_row_.data();
      tile.center_contexts[j] = 0;
      tile.center_words[j] = 0;  // with no contexts, any word will do
      continue;
    }
    const Kept& center = kept_[at];
    tile.center_rows[j] = model.output_row(center.word);
    tile.center_words[j] = center.word;
    tile.center_contexts[j] = bit_range(center.context_begin - origin, center.context_end - origin) &
                              ~bit_range(at - origin, at - origin + 1);
  }
  const std::uint64_t draws = static_cast<std::uint64_t>(kept_[first].position) * negative_count_;
  for (std::uint32_t k = 0; k < negative_count_; ++k) {
    tile.negatives[k] = trainer_.negatives_.sample(draw(negative_key_, draws + k));
    tile.negative_rows[k] = model.output_row(tile.negatives[k]);
  }
  if (first + kTilePositions < kept_count_) {
    const std::uint64_t next = static_cast<std::uint64_t>(kept_[first + kTilePositions].position) * negative_count_;
    for (std::uint32_t k = 0; k < negative_count_; ++k) trainer_.negatives_.prefetch(draw(negative_key_, next + k));
  }
  tile.rounding_seed = draw(rounding_key_, static_cast<std::uint64_t>(kept_[first].position));
  tile.learning_rate = trainer_.learning_rate_at(epoch_, kept_[first].position);
}

// A negative equal to a center does not count for that center's contexts, as in word2vec.c.
void TileWorker::leave_out_centers(Tile& tile) {
  const auto stamp_of = [this](std::int32_t word) -> std::uint32_t& { return stamps_[std::size_t(word) % kStamps]; };
  ++stamp_;
  for (std::size_t j = 0; j < center_count_; ++j) stamp_of(tile.center_words[j]) = stamp_;
  for (std::uint32_t k = 0; k < negative_count_; ++k) {
    const std::int32_t negative = tile.negatives[k];
    tile.special_weights[k] = nullptr;
    if (stamp_of(negative) != stamp_) continue;
    float* const weights = special_.data() + std::size_t{k} * kTilePositions;
    for (std::size_t j = 0; j < center_count_; ++j) {
      if (tile.center_words[j] != negative) continue;
      if (tile.special_weights[k] == nullptr) std::copy(tile.input_weights.begin(), tile.input_weights.end(), weights);
      tile.special_weights[k] = weights;
      for (std::uint64_t bits = tile.center_contexts[j]; bits != 0; bits &= bits - 1) {
        weights[std::countr_zero(bits)] -= negative_weight_;
      }
    }
  }
}

// The rows that the next tile is the first to need: its halo on the left belongs to this tile too.
void TileWorker::list_prefetches(const Tile& next) {
  prefetch_rows_.clear();
  prefetch_rows_.insert(prefetch_rows_.end(), next.input_rows.begin(), next.input_rows.end());
  prefetch_rows_.insert(prefetch_rows_.end(), next.center_rows.begin() + 2 * config_.window, next.center_rows.end());
  prefetch_rows_.insert(prefetch_rows_.end(), next.negative_rows.begin(), next.negative_rows.end());
}

void TileWorker::run(const Tile& tile) {
  kernels_.sgns_tile({.input_rows = tile.input_rows.data(),
                          .center_rows = tile.center_rows.data(),
                          .negative_rows = tile.negative_rows.data(),
                          .center_contexts = tile.center_contexts.data(),
                          .input_weights = tile.input_weights.data(),
                          .special_weights = tile.special_weights.data(),
                          .prefetch_rows = prefetch_rows_.data(),
                          .rounding_seed = tile.rounding_seed,
                          .prefetch_count = static_cast<std::uint32_t>(prefetch_rows_.size()),
                          .negative_count = negative_count_,
                          .window = config_.window,
                          .dim = static_cast<std::uint32_t>(trainer_.model_.vector_size()),
                          .depth = static_cast<std::uint32_t>(trainer_.model_.depth()),
                          .learning_rate = tile.learning_rate,
                          .row_format = trainer_.model_.format(),
                          .workspace = workspace_.data(),
                          .loss = &loss_});
}

void TileWorker::train_chunk(const WindowTrainer::Chunk& chunk, const support::StopFlag& stop) {
  lay_windows(chunk);
  std::size_t turn = 0;
  if (kept_count_ != 0) prepare(tiles_[turn], 0);
  for (std::size_t first = 0; first < kept_count_; first += kTilePositions, turn ^= 1) {
    if (stop.load(std::memory_order_relaxed)) return;
    prefetch_rows_.clear();
    if (first + kTilePositions < kept_count_) {
      prepare(tiles_[turn ^ 1], first + kTilePositions);
      list_prefetches(tiles_[turn ^ 1]);
    }
    leave_out_centers(tiles_[turn]);
    run(tiles_[turn]);
  }
  kernels_.drain_loss(loss_);
  totals_.token_count += chunk.end - chunk.begin;
}

void TileWorker::start_from(const EpochTotals& totals) noexcept {
  totals_ = totals;
  loss_.total = totals.loss;
}

EpochTotals TileWorker::totals() const noexcept {
  EpochTotals totals = totals_;
  totals.loss = loss_.total;
  return totals;
}

}  // namespace fastembed::train
