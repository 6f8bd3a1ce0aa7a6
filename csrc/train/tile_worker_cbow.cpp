// What TileWorker does for CBOW alone.
#include <algorithm>
#include <bit>

#include "cpu/dispatch.hpp"
#include "train/tile_worker.hpp"

namespace fastembed::train {

void TileWorker::prepare_cbow(Tile& tile, std::size_t first) {
  Model& model = trainer_.model_;
  const std::size_t window = config_.window;
  const Present centers = present(first, 0, kTilePositions);
  const Present contexts = present(first, window, tile.context_rows.size());
  const std::int32_t* const words = layout_->words.data() + first;
  tile.centers = ~std::uint64_t{0} >> (kTilePositions - centers.count);
  std::array<float, kCbowGroups> negative_loads;
  for (std::uint32_t g = 0; g < kCbowGroups; ++g) {
    negative_loads[g] = negative_weight_ * static_cast<float>(std::popcount(tile.centers & kGroupCenters << g));
  }
  const std::int32_t* const context_words = layout_->words.data() + (first - window + contexts.first);
  set_rows(tile.context_rows.data(), tile.context_rows.size(), contexts, context_words, model.input_rows());
  set_rows(tile.center_rows.data(), kTilePositions, centers, words, model.output_rows());
  for (std::size_t j = centers.count; j < kTilePositions; ++j) {
    tile.context_begin[j] = tile.context_end[j] = 0;
    tile.hidden_scale[j] = tile.gradient_scale[j] = 0.0F;
  }
  lay_contexts(tile, first, centers.count);
  weigh_rows(tile, {contexts, context_words, input_loads_.data() + contexts.first},
             {centers, words, center_loads_.data()}, negative_loads);
}

void TileWorker::lay_contexts(Tile& tile, std::size_t first, std::size_t centers) {
  const std::size_t window = config_.window, count = tile.context_rows.size();
  // Bit j is switched on where center j's contexts begin and off where they end, and so is its share of the load.
  tile.context_centers.assign(count + 1, 0);
  shares_.assign(count + 1, 0.0F);
  std::uint64_t* const bits = tile.context_centers.data();
  float* const shares = shares_.data();
  const bool mean = config_.cbow_mean;
  for (std::size_t j = 0; j < centers; ++j) {
    const std::size_t begin = layout_->context_begins[first + j] + window - first;
    const std::size_t end = layout_->context_ends[first + j] + window - first;
    tile.context_begin[j] = static_cast<std::uint32_t>(begin);
    tile.context_end[j] = static_cast<std::uint32_t>(end);
    const float share = 1.0F / static_cast<float>(static_cast<std::int32_t>(end - begin) - 1);
    // As in word2vec.c and gensim: the mean's error goes undivided to every context row, the sum's error divided.
    tile.hidden_scale[j] = mean ? share : 1.0F;
    tile.gradient_scale[j] = mean ? 1.0F : share;
    bits[begin] ^= std::uint64_t{1} << j;
    bits[end] ^= std::uint64_t{1} << j;
    shares[begin] += share;
    shares[end] -= share;
  }
  const float pairs_each = static_cast<float>(1 + config_.negative);
  float open_share = 0;
  std::uint64_t open = 0;
  for (std::size_t c = 0; c < count; ++c) {
    open ^= bits[c];
    open_share += shares[c];
    const std::size_t self = c - window;
    const bool is_center = self < kTilePositions;
    bits[c] = is_center ? open & ~(std::uint64_t{1} << self) : open;
    // The share of the center that this is, and of which it is no context; hidden_scale of padding is 0.
    const float own = is_center ? tile.hidden_scale[self] * tile.gradient_scale[self] : 0.0F;
    input_loads_[c] = bits[c] == 0 ? 0.0F : (open_share - own) * pairs_each;
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

void TileWorker::list_cbow_targets(const Tile& tile, std::size_t first, TileSums& sums) const {
  const std::int32_t* const words = layout_->words.data();
  std::size_t slot = 0;
  for (std::size_t c = 0; c < tile.context_rows.size(); ++c, ++slot) {
    if (tile.context_centers[c] == 0) continue;
    sums.add_target(slot, tile.context_rows[c], words[first + c - config_.window], false);
  }
  for (std::uint32_t k = 0; k < negative_count_; ++k, ++slot) {
    sums.add_target(slot, tile.negative_rows[k], tile.negatives[k], true);
  }
  for (std::size_t j = 0; j < kTilePositions; ++j, ++slot) {
    if (tile.context_begin[j] == tile.context_end[j]) continue;
    sums.add_target(slot, tile.center_rows[j], words[first + j], true);
  }
  sums.group();
}

}  // namespace fastembed::train
