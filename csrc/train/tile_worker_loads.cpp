// What keeps the rows of a tile from steps that are too long, and negatives from what they are the centers of.
//
// A tile is one step, so a row that occurs often in it takes a long one: too long for convergence where a few words
// make up much of the text (small vocabularies, no subsampling, wide windows with many negatives). The load of a row is
// the learning rate times the weight of all its pairs in the tile. Steps of rows with more than most_load() are scaled
// down to it: about five occurrences at the defaults, so that subsampled text is hardly ever touched.
//
// A mean of CBOW moves with all of its contexts, each of which moves by the whole error: the load of a word is weighed
// by its share of the tile, at least by that of one context of a mean.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "train/tile_worker.hpp"

namespace fastembed::train {

bool TileWorker::weigh_inputs(const Weighed& inputs, float bound, float most_occurrences) noexcept {
  bool over = false;
  for (std::size_t i = 0; i < inputs.rows.count; ++i) {
    float& sum = input_sums_[input_slot(inputs.words[i])];
    sum += inputs.loads[i];
    over |= sum > bound;
  }
  if (!cbow()) return over;
  const auto most = static_cast<std::uint16_t>(std::min(most_occurrences, 65535.0F));
  for (std::size_t i = 0; i < inputs.rows.count; ++i) {
    over |= ++occurrences_[input_slot(inputs.words[i])] > most;
  }
  return over;
}

// Also here, because the centers' table tells: a negative equal to a center does not count for that center's contexts,
// as in word2vec.c.
void TileWorker::weigh_rows(Tile& tile, const Weighed& inputs, const Weighed& centers,
                            const std::array<float, kCbowGroups>& negative_loads) {
  const float bound = most_load() / tile.learning_rate;
  // A word with so many occurrences may exceed the bound by its share of the tile, whatever its contexts' shares.
  const float all_held = static_cast<float>(2 * config_.window * (1 + config_.negative)) / kTilePositions;
  const float most_occurrences = cbow() ? std::sqrt(bound / all_held) : 1e9F;
  const bool inputs_over = weigh_inputs(inputs, bound, most_occurrences);
  bool over = false;
  for (std::size_t j = 0; j < centers.rows.count; ++j) {
    float& sum = output_sums_[output_slot(centers.words[j])];
    sum += centers.loads[j];
    over |= sum > bound;
  }
  const std::int32_t* const negatives = tile.negatives.data();
  for (std::uint32_t group = 0, k = 0; group < kCbowGroups; ++group) {
    const float load = negative_loads[group];
    const std::uint64_t group_centers = tile.centers & kGroupCenters << group;
    for (const std::uint32_t end = k + group_size_; k < end; ++k) {
      float& sum = output_sums_[output_slot(negatives[k])];
      tile.special_weights[k] = nullptr;
      tile.negative_centers[k] = group_centers;
      if (sum > 0) leave_out_centers(tile, k, centers);
      sum += load;
      over |= sum > bound;
    }
  }
  tile.scaled = over || inputs_over;
  if (tile.scaled) {
    scale_inputs(tile, inputs, bound, most_occurrences);
    scale_outputs(tile, centers, negative_loads, bound);
  }
  std::memset(input_sums_, 0, sizeof input_sums_);
  std::memset(output_sums_, 0, sizeof output_sums_);
  if (cbow()) std::memset(occurrences_, 0, sizeof occurrences_);
}

// (Words may be read to the end of a run: those of a layout have kDrawRoom more.)
void TileWorker::leave_out_centers(Tile& tile, std::uint32_t negative, const Weighed& centers) {
  constexpr std::size_t kRun = 16;
  static_assert(kRun <= kDrawRoom);
  const std::int32_t word = tile.negatives[negative];
  for (std::size_t run = 0; run < centers.rows.count; run += kRun) {
    bool found = false;  // mostly not: the slot is another word's
    for (std::size_t j = run; j < run + kRun; ++j) found |= centers.words[j] == word;
    if (!found) continue;
    for (std::size_t j = run; j < std::min(run + kRun, centers.rows.count); ++j) {
      if (centers.words[j] == word) leave_out_center(tile, negative, centers.rows.first + j);
    }
  }
}

void TileWorker::leave_out_center(Tile& tile, std::uint32_t negative, std::size_t center) noexcept {
  if (cbow()) {
    tile.negative_centers[negative] &= ~(std::uint64_t{1} << center);
    return;
  }
  float* const weights = tile.special.data() + std::size_t{negative} * kTilePositions;
  if (tile.special_weights[negative] == nullptr) {
    std::copy(tile.input_weights.begin(), tile.input_weights.end(), weights);
    tile.special_weights[negative] = weights;
  }
  for (std::uint64_t bits = tile.center_contexts[center]; bits != 0; bits &= bits - 1) {
    weights[std::countr_zero(bits)] -= negative_weight_;
  }
}

// A slot may hold several words, so those of slots above the bound are counted one by one.
void TileWorker::scale_inputs(Tile& tile, const Weighed& inputs, float bound, float most_occurrences) {
  const std::size_t first = inputs.rows.first;
  std::fill(tile.input_scales.begin(), tile.input_scales.end(), 1.0F);
  for (std::size_t i = 0; i < inputs.rows.count; ++i) {
    const std::size_t slot = input_slot(inputs.words[i]);
    if (input_sums_[slot] <= bound && occurrences_[slot] <= most_occurrences) continue;
    float load = 0;
    float held = 0;
    float occurrences = 0;
    for (std::size_t k = 0; k < inputs.rows.count; ++k) {
      if (inputs.words[k] != inputs.words[i] || inputs.loads[k] == 0) continue;
      load += inputs.loads[k];
      occurrences += 1.0F;
      if (cbow()) held += static_cast<float>(std::popcount(tile.context_centers[first + k]));
    }
    const float as_share = held * static_cast<float>(1 + config_.negative) * occurrences / kTilePositions;
    tile.input_scales[first + i] = std::min(1.0F, bound / std::max(load, as_share));
  }
}

void TileWorker::scale_outputs(Tile& tile, const Weighed& centers, const std::array<float, kCbowGroups>& negative_loads,
                               float bound) {
  const auto scale_of = [&](std::int32_t word) {
    if (output_sums_[output_slot(word)] <= bound) return 1.0F;
    float load = 0;
    for (std::size_t j = 0; j < centers.rows.count; ++j) load += centers.words[j] == word ? centers.loads[j] : 0.0F;
    for (std::uint32_t k = 0; k < negative_count_; ++k) {
      load += tile.negatives[k] == word ? negative_loads[k / group_size_] : 0.0F;
    }
    return std::min(1.0F, bound / load);
  };
  std::fill(tile.center_scales.begin(), tile.center_scales.end(), 1.0F);
  for (std::size_t j = 0; j < centers.rows.count; ++j) {
    tile.center_scales[centers.rows.first + j] = scale_of(centers.words[j]);
  }
  for (std::uint32_t k = 0; k < negative_count_; ++k) tile.negative_scales[k] = scale_of(tile.negatives[k]);
}

}  // namespace fastembed::train
