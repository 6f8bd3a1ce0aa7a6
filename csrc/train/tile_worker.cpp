#include "train/tile_worker.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "cpu/dispatch.hpp"
#include "support/rng.hpp"

namespace fastembed::train {

using support::draw;
using support::Stream;
using support::stream_key;

namespace {

constexpr std::int64_t kThresholdLookahead = 32;  // tokens; the table of a large vocabulary lies beyond L2
// Negatives that a center of CBOW meets. More of them outweigh the noise of rounding to bfloat16.
constexpr std::uint32_t kLeastGroup = 8, kLeastBfloat16Group = 12;
constexpr std::uint32_t kMostGroup = 64;

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
      special_(cbow() ? 0 : std::size_t{negative_count_} * kTilePositions),
      padding_row_(trainer.model_.row_bytes()),
      workspace_(cbow() ? cbow_workspace_floats(config_.window, negative_count_, trainer.model_.depth())
                        : tile_workspace_floats(config_.window, negative_count_, trainer.model_.depth())) {
  for (Tile& tile : tiles_) {
    tile.center_rows.resize(center_count_);
    tile.center_contexts.resize(center_count_);
    tile.center_words.resize(center_count_);
    tile.center_loads.resize(center_count_);
    tile.negative_rows.resize(negative_count_);
    tile.negatives.resize(negative_count_);
    tile.special_weights.resize(negative_count_);
    tile.negative_centers.resize(negative_count_);
    tile.context_rows.resize(kTilePositions + 2 * std::size_t{config_.window});
    tile.input_words.resize(cbow() ? tile.context_rows.size() : kTilePositions);
    tile.input_loads.resize(tile.input_words.size());
    tile.input_scales.resize(tile.input_words.size());
    tile.center_scales.resize(center_count_);
    tile.negative_scales.resize(negative_count_);
  }
  std::fill(std::begin(loss_.factor_lanes), std::end(loss_.factor_lanes), 1.0F);
}

// Subsampling happens before windows are laid, as in word2vec.c. Every token is written and the count then advanced or
// not: the decision is a coin toss, which a branch would mispredict.
void TileWorker::keep_piece(std::int64_t begin, std::int64_t end, ChunkLayout& layout) const {
  const auto first = static_cast<std::int32_t>(layout.kept_count);
  const std::int32_t* const ids = trainer_.corpus_.ids.data();
  const std::uint32_t* const thresholds = trainer_.keep_thresholds_.data();
  const std::uint64_t span = config_.shrink_windows ? config_.window : 0;
  const auto least = static_cast<std::int32_t>(config_.shrink_windows ? 1 : config_.window);
  const auto tokens = static_cast<std::int64_t>(trainer_.corpus_.ids.size());
  std::int32_t self = first;
  ChunkLayout::Kept* const kept = layout.kept.data();
  const auto keep = [&](std::int64_t position) __attribute__((always_inline)) {
    const std::int32_t word = ids[position];
    const std::uint64_t random = draw(token_key_, static_cast<std::uint64_t>(position));
    const std::uint64_t low = static_cast<std::uint32_t>(random);
    const std::int32_t reach = least + static_cast<std::int32_t>((low * span) >> 32);
    kept[self] = {position, word, self - reach, self + reach + 1};
    self += static_cast<std::uint32_t>(random >> 32) <= thresholds[word];
  };
  std::int64_t position = begin;
  for (; position < std::min(end, tokens - kThresholdLookahead); ++position) {
    __builtin_prefetch(thresholds + ids[position + kThresholdLookahead]);
    keep(position);
  }
  for (; position < end; ++position) keep(position);
  if (self - first < 2) return;
  for (std::int32_t i = first; i < self; ++i) {
    kept[i].context_begin = std::max(kept[i].context_begin, first);
    kept[i].context_end = std::min(kept[i].context_end, self);
  }
  layout.kept_count = static_cast<std::size_t>(self);
}

void TileWorker::lay_windows(const WindowTrainer::Chunk& chunk, ChunkLayout& layout) const {
  const auto& offsets = trainer_.corpus_.offsets;
  layout.token_count = chunk.end - chunk.begin;
  layout.kept_count = 0;
  layout.positive_count = 0;
  if (layout.kept.size() <= static_cast<std::size_t>(layout.token_count)) layout.kept.resize(layout.token_count + 1);
  std::int64_t sentence = chunk.sentence;
  for (std::int64_t begin = chunk.begin; begin < chunk.end;) {
    while (offsets[sentence + 1] <= begin) ++sentence;
    const std::int64_t end = std::min(offsets[sentence + 1], begin + config_.max_sentence_length);
    keep_piece(begin, end, layout);
    begin = end;
  }
  layout.windows.assign(layout.kept_count + 1, 0);
  for (std::size_t i = 0; i < layout.kept_count; ++i) {
    const ChunkLayout::Kept& center = layout.kept[i];
    ++layout.windows[center.context_begin];
    --layout.windows[center.context_end];
    layout.positive_count += cbow() ? 1 : center.context_end - center.context_begin - 1;
  }
  std::int32_t running = 0;
  for (std::int32_t& count : layout.windows) count = (running += count) - 1;  // a position is no context of itself
}

namespace {

// The bits below `end` of 64.
std::uint64_t bits_below(std::int64_t end) noexcept {
  return end >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << end) - 1;
}

}  // namespace

void TileWorker::prepare(Tile& tile, std::size_t first) {
  if (cbow()) {
    prepare_cbow(tile, first);
  } else {
    prepare_skip_gram(tile, first);
  }
  const std::uint64_t draws = static_cast<std::uint64_t>(layout_->kept[first].position) * negative_count_;
  for (std::uint32_t k = 0; k < negative_count_; ++k) {
    tile.negatives[k] = trainer_.negatives_.sample(draw(negative_key_, draws + k));
    tile.negative_rows[k] = trainer_.model_.output_row(tile.negatives[k]);
  }
  if (first + kTilePositions < layout_->kept_count) {
    const auto next = static_cast<std::uint64_t>(layout_->kept[first + kTilePositions].position) * negative_count_;
    for (std::uint32_t k = 0; k < negative_count_; ++k) trainer_.negatives_.prefetch(draw(negative_key_, next + k));
  }
  tile.rounding_seed = draw(rounding_key_, static_cast<std::uint64_t>(layout_->kept[first].position));
  tile.learning_rate = trainer_.learning_rate_at(epoch_, layout_->kept[first].position);
}

void TileWorker::prepare_skip_gram(Tile& tile, std::size_t first) {
  Model& model = trainer_.model_;
  const auto& kept = layout_->kept;
  const auto kept_count = static_cast<std::int64_t>(layout_->kept_count);
  const std::size_t inputs = std::min<std::size_t>(kTilePositions, layout_->kept_count - first);
  for (std::size_t i = 0; i < inputs; ++i) {
    tile.input_rows[i] = model.input_row(kept[first + i].word);
    tile.input_words[i] = kept[first + i].word;
    tile.input_loads[i] = static_cast<float>(layout_->windows[first + i] * (1 + std::int64_t{config_.negative}));
    tile.input_weights[i] = negative_weight_ * static_cast<float>(layout_->windows[first + i]);
  }
  for (std::size_t i = inputs; i < kTilePositions; ++i) {
    tile.input_rows[i] = padding_row_.data();
    tile.input_words[i] = 0;
    tile.input_loads[i] = 0.0F;
    tile.input_weights[i] = 0.0F;
  }
  float all_weights = 0;
  for (const float weight : tile.input_weights) all_weights += weight;
  tile.negative_loads.fill(all_weights);
  const auto origin = static_cast<std::int64_t>(first);
  const auto window = static_cast<std::int64_t>(config_.window);
  for (std::size_t j = 0; j < center_count_; ++j) {
    const std::int64_t number = static_cast<std::int64_t>(j) - window, at = origin + number;
    if (at < 0 || at >= kept_count || j >= kTilePositions + 2 * config_.window) {
      tile.center_rows[j] = padding_row_.data();
      tile.center_contexts[j] = 0;
      tile.center_loads[j] = 0.0F;
      tile.center_words[j] = 0;  // with no contexts, any word will do
      continue;
    }
    const ChunkLayout::Kept& center = kept[at];
    tile.center_rows[j] = model.output_row(center.word);
    tile.center_words[j] = center.word;
    const std::int64_t begin = std::clamp<std::int64_t>(center.context_begin - origin, 0, kTilePositions);
    const std::int64_t end = std::clamp<std::int64_t>(center.context_end - origin, begin, kTilePositions);
    const bool within = number >= 0 && number < kTilePositions;  // the tile holds the center itself
    const std::uint64_t self = std::uint64_t{within} << (number & 63);
    tile.center_contexts[j] = bits_below(end) & ~bits_below(begin) & ~self;
    tile.center_loads[j] = static_cast<float>(end - begin - (within ? 1 : 0));
  }
}

// A tile is one step, so a row that occurs often in it takes a long one: too long for convergence where a few words
// make up much of the text (small vocabularies, no subsampling, wide windows with many negatives). The load of a row is
// the learning rate times the weight of all its pairs in the tile. Steps of rows with more than most_load() are scaled
// down to it: about five occurrences at the defaults, so that subsampled text is hardly ever touched.
//
// A mean of CBOW moves with all of its contexts, each of which moves by the whole error: the load of a word is weighed
// by its share of the tile, at least by that of one context of a mean.
//
// Also here, because the centers' table tells: a negative equal to a center does not count for that center's contexts,
// as in word2vec.c.
void TileWorker::weigh_rows(Tile& tile) {
  const float bound = most_load() / tile.learning_rate;
  // A word with so many occurrences may exceed the bound by its share of the tile, whatever its contexts' shares.
  const float all_held = static_cast<float>(2 * config_.window * (1 + config_.negative)) / kTilePositions;
  const float most_occurrences = cbow() ? std::sqrt(bound / all_held) : 1e9F;
  bool over = false;
  for (std::size_t i = 0; i < tile.input_words.size(); ++i) {
    InputLoad& load = input_loads_[input_slot(tile.input_words[i])];
    load.weight += tile.input_loads[i];
    load.occurrences += 1.0F;
    over |= (load.weight > bound) | (load.occurrences > most_occurrences);
  }
  for (std::size_t j = 0; j < center_count_; ++j) {
    const std::size_t slot = output_slot(tile.center_words[j]);
    output_loads_[slot] += tile.center_loads[j];
    over |= output_loads_[slot] > bound;
  }
  for (std::uint32_t group = 0, k = 0; group < kCbowGroups; ++group) {
    for (const std::uint32_t end = k + group_size_; k < end; ++k) {
      float& load = output_loads_[output_slot(tile.negatives[k])];
      tile.special_weights[k] = nullptr;
      tile.negative_centers[k] = tile.centers & kGroupCenters << group;
      if (load > 0) leave_out_centers(tile, k);
      load += tile.negative_loads[group];
      over |= load > bound;
    }
  }
  tile.scaled = over;
  if (over) set_scales(tile, bound, most_occurrences);
  clear_loads(tile);
}

void TileWorker::clear_loads(const Tile& tile) noexcept {
  for (const std::int32_t word : tile.input_words) input_loads_[input_slot(word)] = {};
  for (const std::int32_t word : tile.center_words) output_loads_[output_slot(word)] = 0;
  for (const std::int32_t word : tile.negatives) output_loads_[output_slot(word)] = 0;
}

void TileWorker::leave_out_centers(Tile& tile, std::uint32_t negative) {
  bool is_center = false;  // else the slot is another word's
  for (std::size_t j = 0; j < center_count_; ++j) is_center |= tile.center_words[j] == tile.negatives[negative];
  if (!is_center) return;
  float* const weights = special_.data() + std::size_t{negative} * kTilePositions;
  for (std::size_t j = 0; j < center_count_; ++j) {
    if (tile.center_words[j] != tile.negatives[negative]) continue;
    if (cbow()) {
      tile.negative_centers[negative] &= ~(std::uint64_t{1} << j);
      continue;
    }
    if (tile.special_weights[negative] == nullptr) {
      std::copy(tile.input_weights.begin(), tile.input_weights.end(), weights);
      tile.special_weights[negative] = weights;
    }
    for (std::uint64_t bits = tile.center_contexts[j]; bits != 0; bits &= bits - 1) {
      weights[std::countr_zero(bits)] -= negative_weight_;
    }
  }
}

// A slot may hold several words, so those of slots above the bound are counted one by one.
void TileWorker::set_scales(Tile& tile, float bound, float most_occurrences) {
  for (std::size_t i = 0; i < tile.input_words.size(); ++i) {
    tile.input_scales[i] = 1.0F;
    const InputLoad& bounds = input_loads_[input_slot(tile.input_words[i])];
    if (bounds.weight <= bound && bounds.occurrences <= most_occurrences) continue;
    float load = 0;
    float held = 0;
    float occurrences = 0;
    for (std::size_t k = 0; k < tile.input_words.size(); ++k) {
      if (tile.input_words[k] != tile.input_words[i] || tile.input_loads[k] == 0) continue;
      load += tile.input_loads[k];
      occurrences += 1.0F;
      if (cbow()) held += static_cast<float>(std::popcount(tile.context_centers[k]));
    }
    const float as_share = held * static_cast<float>(1 + config_.negative) * occurrences / kTilePositions;
    tile.input_scales[i] = std::min(1.0F, bound / std::max(load, as_share));
  }
  const auto output_scale = [&](std::int32_t word) {
    if (output_loads_[output_slot(word)] <= bound) return 1.0F;
    float load = 0;
    for (std::size_t j = 0; j < center_count_; ++j) {
      if (tile.center_words[j] == word) load += tile.center_loads[j];
    }
    for (std::uint32_t k = 0; k < negative_count_; ++k) {
      load += tile.negatives[k] == word ? tile.negative_loads[k / group_size_] : 0.0F;
    }
    return std::min(1.0F, bound / load);
  };
  for (std::size_t j = 0; j < center_count_; ++j) tile.center_scales[j] = output_scale(tile.center_words[j]);
  for (std::uint32_t k = 0; k < negative_count_; ++k) tile.negative_scales[k] = output_scale(tile.negatives[k]);
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
    weigh_rows(tiles_[turn]);
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
  weigh_rows(tiles_[turn_]);
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
  if (cbow()) return list_cbow_targets(tile, sums);
  const std::size_t inputs = std::min<std::size_t>(kTilePositions, layout_->kept_count - first);
  for (std::size_t i = 0; i < inputs; ++i) {
    sums.add_target(i, tile.input_rows[i], layout_->kept[first + i].word, false);
  }
  std::size_t slot = kTilePositions;
  for (std::size_t j = 0; j < center_count_; ++j, ++slot) {
    if (tile.center_contexts[j] != 0) sums.add_target(slot, tile.center_rows[j], tile.center_words[j], true);
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
