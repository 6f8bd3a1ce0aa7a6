#include "train/tile_worker.hpp"

#include <algorithm>

#include "cpu/dispatch.hpp"
#include "support/rng.hpp"

namespace fastembed::train {

using support::draw;
using support::Stream;
using support::stream_key;

namespace {

// Negatives that a center of CBOW meets. More of them outweigh the noise of rounding to bfloat16.
constexpr std::uint32_t kLeastGroup = 8, kLeastBfloat16Group = 12;
constexpr std::uint32_t kMostGroup = 64;

// Entry n has the lowest n bits.
constexpr std::array<std::uint64_t, kTilePositions + 1> kBitsBelow = [] {
  std::array<std::uint64_t, kTilePositions + 1> below{};
  for (std::size_t n = 0; n < kTilePositions; ++n) below[n + 1] = below[n] << 1 | 1;
  return below;
}();

}  // namespace

std::uint32_t tile_negative_count(const TrainConfig& config, RowFormat format) noexcept {
  if (config.architecture == Architecture::kCbow) {
    const std::uint32_t least = format == RowFormat::kBfloat16 ? kLeastBfloat16Group : kLeastGroup;
    const std::uint32_t group = std::clamp(config.negative, least, kMostGroup);
    return kCbowGroups * static_cast<std::uint32_t>(tile_round_up(group, kTileRows / kCbowGroups));
  }
  const std::uint64_t windows = config.shrink_windows ? config.window + 1 : 2 * config.window;
  const std::uint64_t draws = std::max<std::uint64_t>(tile_round_up(config.negative * windows, kTileRows), kTileRows);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(draws, 256));
}

std::size_t tile_sum_slots(const TrainConfig& config, RowFormat format) noexcept {
  const bool cbow = config.architecture == Architecture::kCbow;
  const std::size_t others = cbow ? kTilePositions + 2 * std::size_t{config.window} : tile_center_rows(config.window);
  return kTilePositions + others + tile_negative_count(config, format);
}

TileWorker::TileWorker(WindowTrainer& trainer, std::uint32_t epoch)
    : trainer_(trainer),
      config_(trainer.config_),
      kernels_(cpu::kernels()),
      epoch_(epoch),
      token_key_(stream_key(config_.seed, Stream::kTokens, epoch)),
      negative_key_(stream_key(config_.seed, Stream::kNegatives, epoch)),
      rounding_key_(stream_key(config_.seed, Stream::kPools, epoch)),
      negative_count_(tile_negative_count(config_, trainer.model_.format())),
      group_size_(negative_count_ / kCbowGroups),
      center_count_(cbow() ? kTilePositions : tile_center_rows(config_.window)),
      negative_weight_(static_cast<float>(config_.negative * (cbow() ? kCbowGroups : 1)) /
                       static_cast<float>(negative_count_)),
      padding_row_(trainer.model_.row_bytes()),
      workspace_(cbow() ? cbow_workspace_floats(config_.window, negative_count_, trainer.model_.depth())
                        : tile_workspace_floats(config_.window, negative_count_, trainer.model_.depth())) {
  for (Tile& tile : tiles_) {
    tile.center_rows.resize(center_count_);
    tile.center_contexts.resize(center_count_);
    tile.negative_rows.resize(negative_count_);
    tile.negatives.resize(negative_count_);
    tile.special_weights.resize(negative_count_);
    tile.negative_centers.resize(negative_count_);
    tile.context_rows.resize(kTilePositions + 2 * std::size_t{config_.window});
    tile.input_scales.resize(cbow() ? tile.context_rows.size() : kTilePositions);
    tile.center_scales.resize(center_count_);
    tile.negative_scales.resize(negative_count_);
    tile.special.resize(cbow() ? 0 : std::size_t{negative_count_} * kTilePositions);
  }
  input_loads_.resize(tiles_[0].input_scales.size());
  center_loads_.resize(center_count_, 1.0F);  // those of CBOW stay so
  std::fill(std::begin(loss_.factor_lanes), std::end(loss_.factor_lanes), 1.0F);
}

// Subsampling happens before windows are laid, as in word2vec.c.
void TileWorker::keep_piece(std::int64_t begin, std::int64_t end, ChunkLayout& layout) const {
  const auto first = static_cast<std::int32_t>(layout.kept_count);
  const auto& ids = trainer_.corpus_.ids;
  std::int32_t* const begins = layout.context_begins.data();
  std::int32_t* const ends = layout.context_ends.data();
  const std::size_t kept = kernels_.draw_tokens({.ids = ids.data() + begin,
                                                 .thresholds = trainer_.keep_thresholds_.data(),
                                                 .key = token_key_,
                                                 .first = static_cast<std::uint64_t>(begin),
                                                 .count = static_cast<std::size_t>(end - begin),
                                                 .readable = ids.size() - static_cast<std::size_t>(begin),
                                                 .words = layout.words.data() + first,
                                                 .offsets = layout.offsets.data() + first,
                                                 .reaches = ends + first,
                                                 .offset = static_cast<std::int32_t>(begin - layout.begin),
                                                 .least = config_.shrink_windows ? 1 : config_.window,
                                                 .span = config_.shrink_windows ? config_.window : 0});
  const std::int32_t self = first + static_cast<std::int32_t>(kept);
  if (self - first < 2) return;
  for (std::int32_t i = first; i < self; ++i) {
    const std::int32_t reach = ends[i];
    begins[i] = std::max(i - reach, first);
    ends[i] = std::min(i + reach + 1, self);
  }
  layout.kept_count = static_cast<std::size_t>(self);
}

void TileWorker::lay_windows(const WindowTrainer::Chunk& chunk, ChunkLayout& layout) const {
  const auto& offsets = trainer_.corpus_.offsets;
  layout.begin = chunk.begin;
  layout.token_count = chunk.end - chunk.begin;
  layout.kept_count = 0;
  if (layout.words.size() < static_cast<std::size_t>(layout.token_count) + kDrawRoom) {
    for (auto* const list : {&layout.words, &layout.offsets, &layout.context_begins, &layout.context_ends}) {
      list->resize(layout.token_count + kDrawRoom);
    }
  }
  std::int64_t sentence = chunk.sentence;
  for (std::int64_t begin = chunk.begin; begin < chunk.end;) {
    while (offsets[sentence + 1] <= begin) ++sentence;
    const std::int64_t end = std::min(offsets[sentence + 1], begin + config_.max_sentence_length);
    keep_piece(begin, end, layout);
    begin = end;
  }
  layout.windows.assign(layout.kept_count + 1, 0);
  std::int64_t contexts = 0;
  for (std::size_t i = 0; i < layout.kept_count; ++i) {
    const std::int32_t begin = layout.context_begins[i], end = layout.context_ends[i];
    ++layout.windows[begin];
    --layout.windows[end];
    contexts += end - begin - 1;
  }
  layout.positive_count = cbow() ? static_cast<std::int64_t>(layout.kept_count) : contexts;
  std::int32_t running = 0;
  for (std::int32_t& count : layout.windows) count = (running += count) - 1;  // a position is no context of itself
}

TileWorker::Present TileWorker::present(std::size_t first, std::size_t before, std::size_t count) const noexcept {
  const std::size_t begin = first < before ? before - first : 0;
  return {begin, std::min(count, layout_->kept_count - first + before) - begin};
}

void TileWorker::set_rows(void** rows, std::size_t count, Present here, const std::int32_t* words,
                          unsigned char* matrix) noexcept {
  const Model& model = trainer_.model_;
  const std::size_t row_bytes = model.row_bytes();
  void* const padding = padding_row_.data();
  std::fill(rows, rows + here.first, padding);
  for (std::size_t r = 0; r < here.count; ++r) {
    rows[here.first + r] = matrix + model.place_of(static_cast<std::size_t>(words[r])) * row_bytes;
  }
  std::fill(rows + here.first + here.count, rows + count, padding);
}

void TileWorker::prepare(Tile& tile, std::size_t first) {
  const std::int64_t position = layout_->position(first);
  tile.rounding_seed = draw(rounding_key_, static_cast<std::uint64_t>(position));
  tile.learning_rate = trainer_.learning_rate_at(epoch_, position);
  draw_negatives(tile, first);
  if (cbow()) {
    prepare_cbow(tile, first);
  } else {
    prepare_skip_gram(tile, first);
  }
}

void TileWorker::draw_negatives(Tile& tile, std::size_t first) {
  const auto columns = trainer_.negatives_.columns();
  const std::size_t next = first + kTilePositions;
  const auto draw_of = [&](std::size_t kept) {
    return static_cast<std::uint64_t>(layout_->position(kept)) * negative_count_;
  };
  const bool last = next >= layout_->kept_count;
  kernels_.draw_aliases({.columns = columns.data(),
                         .column_count = columns.size(),
                         .key = negative_key_,
                         .first = draw_of(first),
                         .fetched_first = last ? 0 : draw_of(next),
                         .count = negative_count_,
                         .fetched = last ? 0 : negative_count_,
                         .words = tile.negatives.data()});
  set_rows(tile.negative_rows.data(), negative_count_, {0, negative_count_}, tile.negatives.data(),
           trainer_.model_.output_rows());
}

void TileWorker::prepare_skip_gram(Tile& tile, std::size_t first) {
  Model& model = trainer_.model_;
  const std::size_t window = config_.window;
  const Present inputs = present(first, 0, kTilePositions);
  const std::int32_t* const words = layout_->words.data() + first;
  set_rows(tile.input_rows.data(), kTilePositions, inputs, words, model.input_rows());
  const float pairs_each = 1.0F + static_cast<float>(config_.negative), weight = negative_weight_;
  std::int32_t window_sum = 0;
  for (std::size_t i = 0; i < inputs.count; ++i) {
    const std::int32_t windows = layout_->windows[first + i];
    window_sum += windows;
    input_loads_[i] = static_cast<float>(windows) * pairs_each;
    tile.input_weights[i] = static_cast<float>(windows) * weight;
  }
  for (std::size_t i = inputs.count; i < kTilePositions; ++i) tile.input_weights[i] = 0.0F;

  const Present centers = present(first, window, kTilePositions + 2 * window);
  const std::size_t origin = first - window + centers.first;
  set_rows(tile.center_rows.data(), center_count_, centers, layout_->words.data() + origin, model.output_rows());
  std::uint64_t* const contexts = tile.center_contexts.data() + centers.first;
  std::fill(tile.center_contexts.data(), contexts, 0);
  const std::int32_t* const begins = layout_->context_begins.data() + origin;
  const std::int32_t* const ends = layout_->context_ends.data() + origin;
  const auto limit = [first](std::int32_t kept) __attribute__((always_inline)) {
    return std::clamp(kept - static_cast<std::int32_t>(first), 0, static_cast<std::int32_t>(kTilePositions));
  };
  for (std::size_t j = 0; j < centers.count; ++j) {
    const std::int32_t begin = limit(begins[j]), end = limit(ends[j]);
    contexts[j] = kBitsBelow[end] & ~kBitsBelow[begin];
    center_loads_[j] = static_cast<float>(end - begin);
  }
  // Those that the tile holds itself are no contexts of themselves.
  for (std::size_t i = 0; i < inputs.count; ++i) {
    tile.center_contexts[window + i] &= ~(std::uint64_t{1} << i);
    center_loads_[window - centers.first + i] -= 1.0F;
  }
  std::fill(contexts + centers.count, tile.center_contexts.data() + center_count_, 0);
  std::array<float, kCbowGroups> negative_loads;
  negative_loads.fill(static_cast<float>(window_sum) * weight);
  weigh_rows(tile, {inputs, words, input_loads_.data()},
             {centers, layout_->words.data() + origin, center_loads_.data()}, negative_loads);
}

// The rows that the next tile is the first to need: its halo on the left belongs to this tile too.
void TileWorker::list_prefetches(const Tile& next) {
  prefetch_rows_.clear();
  if (cbow()) {
    prefetch_rows_.insert(prefetch_rows_.end(), next.context_rows.begin() + 2 * config_.window,
                          next.context_rows.end());
    prefetch_rows_.insert(prefetch_rows_.end(), next.center_rows.begin(), next.center_rows.end());
    prefetch_rows_.insert(prefetch_rows_.end(), next.negative_rows.begin(), next.negative_rows.end());
    return;
  }
  prefetch_rows_.insert(prefetch_rows_.end(), next.input_rows.begin(), next.input_rows.end());
  prefetch_rows_.insert(prefetch_rows_.end(), next.center_rows.begin() + 2 * config_.window, next.center_rows.end());
  prefetch_rows_.insert(prefetch_rows_.end(), next.negative_rows.begin(), next.negative_rows.end());
}

void TileWorker::run(const Tile& tile, LossSum& loss, void* const* sum_rows) {
  if (cbow()) return run_cbow(tile, loss, sum_rows);
  kernels_.sgns_tile({.input_rows = tile.input_rows.data(),
                      .center_rows = tile.center_rows.data(),
                      .negative_rows = tile.negative_rows.data(),
                      .center_contexts = tile.center_contexts.data(),
                      .input_weights = tile.input_weights.data(),
                      .special_weights = tile.special_weights.data(),
                      .input_scales = tile.scaled ? tile.input_scales.data() : nullptr,
                      .center_scales = tile.scaled ? tile.center_scales.data() : nullptr,
                      .negative_scales = tile.scaled ? tile.negative_scales.data() : nullptr,
                      .prefetch_rows = prefetch_rows_.data(),
                      .sum_rows = sum_rows,
                      .rounding_seed = tile.rounding_seed,
                      .prefetch_count = static_cast<std::uint32_t>(prefetch_rows_.size()),
                      .negative_count = negative_count_,
                      .window = config_.window,
                      .dim = static_cast<std::uint32_t>(trainer_.model_.vector_size()),
                      .depth = static_cast<std::uint32_t>(trainer_.model_.depth()),
                      .learning_rate = tile.learning_rate,
                      .row_format = trainer_.model_.format(),
                      .workspace = workspace_.data(),
                      .loss = &loss});
}

void TileWorker::train_chunk(const WindowTrainer::Chunk& chunk, const support::StopFlag& stop) {
  lay_windows(chunk, own_layout_);
  layout_ = &own_layout_;
  const std::size_t kept_count = own_layout_.kept_count;
  totals_.center_count += static_cast<std::int64_t>(kept_count);
  totals_.positive_count += own_layout_.positive_count;
  std::size_t turn = 0;
  if (kept_count != 0) prepare(tiles_[turn], 0);
  for (std::size_t first = 0; first < kept_count; first += kTilePositions, turn ^= 1) {
    if (stop.load(std::memory_order_relaxed)) return;
    prefetch_rows_.clear();
    if (first + kTilePositions < kept_count) {
      prepare(tiles_[turn ^ 1], first + kTilePositions);
      list_prefetches(tiles_[turn ^ 1]);
    }
    run(tiles_[turn], loss_, nullptr);
  }
  kernels_.drain_loss(loss_);
  totals_.token_count += chunk.end - chunk.begin;
}

void TileWorker::use(const ChunkLayout& layout) noexcept {
  layout_ = &layout;
  prepared_ = kNoTile;
}

void TileWorker::sum_tile(std::size_t first, std::size_t next, TileSums& sums) {
  const Tile& tile = tiles_[turn_];
  if (prepared_ != first) prepare(tiles_[turn_], first);
  prefetch_rows_.clear();
  if (next != kNoTile) {
    prepare(tiles_[turn_ ^ 1], next);
    list_prefetches(tiles_[turn_ ^ 1]);
  }
  prepared_ = next;
  sums.loss = {};
  std::fill(std::begin(sums.loss.factor_lanes), std::end(sums.loss.factor_lanes), 1.0F);
  run(tile, sums.loss, sums.slots());
  kernels_.drain_loss(sums.loss);
  list_targets(tile, first, sums);
  turn_ ^= 1;
}

// Padding, centers without a context in this tile and contexts without a center have nothing to add.
void TileWorker::list_targets(const Tile& tile, std::size_t first, TileSums& sums) const {
  sums.clear();
  if (cbow()) return list_cbow_targets(tile, first, sums);
  const std::int32_t* const words = layout_->words.data();
  const std::size_t inputs = std::min<std::size_t>(kTilePositions, layout_->kept_count - first);
  for (std::size_t i = 0; i < inputs; ++i) sums.add_target(i, tile.input_rows[i], words[first + i], false);
  std::size_t slot = kTilePositions;
  for (std::size_t j = 0; j < center_count_; ++j, ++slot) {
    if (tile.center_contexts[j] == 0) continue;
    sums.add_target(slot, tile.center_rows[j], words[first + j - config_.window], true);
  }
  for (std::uint32_t k = 0; k < negative_count_; ++k, ++slot) {
    sums.add_target(slot, tile.negative_rows[k], tile.negatives[k], true);
  }
  sums.group();
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
