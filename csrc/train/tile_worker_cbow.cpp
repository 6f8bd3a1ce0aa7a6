// What TileWorker does for CBOW alone.
#include <algorithm>
#include <bit>

#include "cpu/dispatch.hpp"
#include "train/tile_worker.hpp"

namespace fastembed::train {

void TileWorker::prepare_cbow(Tile& tile, std::size_t first) {
  Model& model = trainer_.model_;
  const std::size_t window = config_.window;
  const std::size_t centers = std::min<std::size_t>(kTilePositions, layout_->kept_count - first);
  tile.centers = ~std::uint64_t{0} >> (kTilePositions - centers);
  for (std::uint32_t g = 0; g < kCbowGroups; ++g) {
    tile.negative_loads[g] = negative_weight_ * static_cast<float>(std::popcount(tile.centers & kGroupCenters << g));
  }
  for (std::size_t c = 0; c < tile.context_rows.size(); ++c) {
    const std::size_t at = first + c - window;  // wraps below 0, and is then not less than kept_count
    const bool real = at < layout_->kept_count;
    const std::int32_t word = real ? layout_->kept[at].word : 0;
    tile.context_rows[c] = real ? model.input_row(word) : padding_row_.data();
    tile.input_words[c] = word;
  }
  // Bit j is switched on where center j's contexts begin and off where they end, and so is its share of the load.
  tile.context_centers.assign(tile.context_rows.size() + 1, 0);
  shares_.assign(tile.context_rows.size() + 1, 0.0F);
  for (std::size_t j = 0; j < kTilePositions; ++j) {
    if (j >= centers) {
      tile.center_rows[j] = padding_row_.data();
      tile.center_words[j] = 0;  // with no contexts, any word will do
      tile.center_loads[j] = 0.0F;
      tile.context_begin[j] = tile.context_end[j] = 0;
      tile.hidden_scale[j] = tile.gradient_scale[j] = 0.0F;
      continue;
    }
    const ChunkLayout::Kept& center = layout_->kept[first + j];
    tile.center_rows[j] = model.output_row(center.word);
    tile.center_words[j] = center.word;
    tile.center_loads[j] = 1.0F;
    tile.context_begin[j] = static_cast<std::uint32_t>(center.context_begin + window - first);
    tile.context_end[j] = static_cast<std::uint32_t>(center.context_end + window - first);
    const float share = 1.0F / static_cast<float>(center.context_end - center.context_begin - 1);
    // As in word2vec.c and gensim: the mean's error goes undivided to every context row, the sum's error divided.
    tile.hidden_scale[j] = config_.cbow_mean ? share : 1.0F;
    tile.gradient_scale[j] = config_.cbow_mean ? 1.0F : share;
    tile.context_centers[tile.context_begin[j]] ^= std::uint64_t{1} << j;
    tile.context_centers[tile.context_end[j]] ^= std::uint64_t{1} << j;
    shares_[tile.context_begin[j]] += share;
    shares_[tile.context_end[j]] -= share;
  }
  float open_share = 0;
  std::uint64_t open = 0;
  for (std::size_t c = 0; c < tile.context_rows.size(); ++c) {
    open ^= tile.context_centers[c];
    const bool is_center = c >= window && c < window + kTilePositions;
    tile.context_centers[c] = is_center ? open & ~(std::uint64_t{1} << (c - window)) : open;
    open_share += shares_[c];
    // The share of the center that this is, and of which it is no context; hidden_scale of padding is 0.
    const float own = is_center ? tile.hidden_scale[c - window] * tile.gradient_scale[c - window] : 0.0F;
    const float others = tile.context_centers[c] == 0 ? 0.0F : open_share - own;
    tile.input_loads[c] = others * static_cast<float>(1 + config_.negative);
  }
}

void TileWorker::run_cbow(const Tile& tile, LossSum& loss, void* const* sum_rows) {
  kernels_.cbow_tile({.context_rows = tile.context_rows.data(),
                      .center_rows = tile.center_rows.data(),
                      .negative_rows = tile.negative_rows.data(),
                      .context_begin = tile.context_begin.data(),
                      .context_end = tile.context_end.data(),
                      .context_centers = tile.context_centers.data(),
                      .hidden_scale = tile.hidden_scale.data(),
                      .gradient_scale = config_.cbow_mean ? nullptr : tile.gradient_scale.data(),
                      .negative_centers = tile.negative_centers.data(),
                      .context_scales = tile.scaled ? tile.input_scales.data() : nullptr,
                      .center_scales = tile.scaled ? tile.center_scales.data() : nullptr,
                      .negative_scales = tile.scaled ? tile.negative_scales.data() : nullptr,
                      .prefetch_rows = prefetch_rows_.data(),
                      .sum_rows = sum_rows,
                      .rounding_seed = tile.rounding_seed,
                      .centers = tile.centers,
                      .prefetch_count = static_cast<std::uint32_t>(prefetch_rows_.size()),
                      .negative_count = negative_count_,
                      .window = config_.window,
                      .dim = static_cast<std::uint32_t>(trainer_.model_.vector_size()),
                      .depth = static_cast<std::uint32_t>(trainer_.model_.depth()),
                      .learning_rate = tile.learning_rate,
                      .negative_weight = negative_weight_,
                      .row_format = trainer_.model_.format(),
                      .workspace = workspace_.data(),
                      .loss = &loss});
}

void TileWorker::list_cbow_targets(const Tile& tile, TileSums& sums) const {
  std::size_t slot = 0;
  for (std::size_t c = 0; c < tile.context_rows.size(); ++c, ++slot) {
    if (tile.context_centers[c] != 0) sums.add_target(slot, tile.context_rows[c], tile.input_words[c], false);
  }
  for (std::uint32_t k = 0; k < negative_count_; ++k, ++slot) {
    sums.add_target(slot, tile.negative_rows[k], tile.negatives[k], true);
  }
  for (std::size_t j = 0; j < kTilePositions; ++j, ++slot) {
    if (tile.context_begin[j] != tile.context_end[j]) {
      sums.add_target(slot, tile.center_rows[j], tile.center_words[j], true);
    }
  }
  sums.group();
}

}  // namespace fastembed::train
