// CBOW with negative sampling for a tile of 64 centers at once. The means of the contexts are the inputs of a tile
// step that has negatives alone; the centers' own rows, one for each mean, are dealt with in float32. What the step
// adds to the means goes to the context rows. Called by the tile trainer.
#pragma once

#include "kernels/sgns_tile.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kRowColumns = 8;  // registers of one row at a time
constexpr std::size_t kGroup = 16;      // centers that pass through the first stages together, in the nearest cache

constexpr std::size_t kAhead = 3;  // centers; by so many rows come to the nearest cache before they are needed

// A row of the tile under way, from the second-level cache to the nearest.
template <class Rows>
[[gnu::always_inline]] inline void fetch_row(const void* row, std::size_t depth) noexcept {
  const auto* const bytes = static_cast<const unsigned char*>(row);
  for (std::size_t i = 0; i < depth * sizeof(typename Rows::Element); i += 64) __builtin_prefetch(bytes + i, 0, 3);
}

// The pointers and buffers of the inner tile, in the workspace before its own.
struct CbowBuffers {
  explicit CbowBuffers(const CbowTile& tile) noexcept
      : hidden(tile.workspace), error(hidden + kPositions * tile.depth), rest(error + kPositions * tile.depth) {
    for (std::size_t j = 0; j < kPositions; ++j) {
      hidden_rows[j] = hidden + j * tile.depth;
      error_rows[j] = error + j * tile.depth;
    }
  }

  float* hidden;
  float* error;
  float* rest;
  void* hidden_rows[kPositions];
  void* error_rows[kPositions];
  float gradients[kPositions];  // of the centers' own rows
};

// Where the updates go: to the rows of the model, or to sums that are added later.
struct CbowTargets {
  void* const* contexts;
  void* const* negatives;
  void* const* centers;
};

inline CbowTargets cbow_targets(const CbowTile& tile) noexcept {
  if (tile.sum_rows == nullptr) return {tile.context_rows, tile.negative_rows, tile.center_rows};
  void* const* const negatives = tile.sum_rows + kPositions + 2 * std::size_t{tile.window};
  return {tile.sum_rows, negatives, negatives + tile.negative_count};
}

template <class Rows, std::size_t kColumns>
[[gnu::always_inline]] inline void add_range(Vec::Reg (&sums)[kColumns], void* const* rows, std::size_t begin,
                                             std::size_t end, std::size_t at) noexcept {
  for (std::size_t c = begin; c < end; ++c) {
    const auto* const row = static_cast<const typename Rows::Element*>(rows[c]) + at;
    for (std::size_t v = 0; v < kColumns; ++v) sums[v] = Vec::add(sums[v], Rows::load(row + v * kLanes));
  }
}

// The mean (or sum) of center j's contexts; returns lanes whose sum is its product with the center's row.
template <class Rows>
[[gnu::always_inline]] inline Vec::Reg make_mean(const CbowTile& tile, std::size_t j, float* hidden) noexcept {
  const std::size_t self = j + tile.window;
  const std::size_t end = tile.context_end[j];
  const Vec::Reg scale = Vec::broadcast(tile.hidden_scale[j]);
  const auto* const center = static_cast<const typename Rows::Element*>(tile.center_rows[j]);
  Vec::Reg product = Vec::zero();
  for_runs<kRowColumns>(tile.depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
    constexpr std::size_t kColumns = decltype(count)::value;
    const std::size_t at = vector * kLanes;
    Vec::Reg sums[kColumns];
    for (auto& sum : sums) sum = Vec::zero();
    add_range<Rows, kColumns>(sums, tile.context_rows, tile.context_begin[j], self < end ? self : end, at);
    add_range<Rows, kColumns>(sums, tile.context_rows, self + 1, end, at);
    for (std::size_t v = 0; v < kColumns; ++v) {
      const Vec::Reg mean = Vec::mul(sums[v], scale);
      Vec::store(hidden + at + v * kLanes, mean);
      product = Vec::fma(mean, Rows::load(center + at + v * kLanes), product);
    }
  });
  return product;
}

// Scores of a group's means with their own centers, in place to gradients; adds the loss.
inline void finish_means(const CbowTile& tile, std::size_t first, float* gradients) noexcept {
  using Reg = Vec::Reg;
  make_room(*tile.loss, kGroup / kLanes);
  Reg linear = Vec::load(tile.loss->linear_lanes);
  Reg factors = Vec::load(tile.loss->factor_lanes);
  for (std::size_t j = first; j < first + kGroup; j += kLanes) {
    // Padding has no weight.
    const Reg unused = Vec::sub(Vec::zero(), Vec::load(tile.center_weights + j));
    const Reg z = Vec::sub(Vec::zero(), Vec::load(gradients + j));
    Reg one_plus_e;
    const Reg miss = Vec::mul(Vec::broadcast(tile.learning_rate), sigmoid(z, one_plus_e));
    Vec::store(gradients + j, Vec::select_non_negative(unused, Vec::zero(), miss));
    linear = Vec::add(linear, Vec::select_non_negative(unused, Vec::zero(), Vec::max(z, Vec::zero())));
    factors = Vec::mul(factors, Vec::select_non_negative(unused, Vec::broadcast(1.0F), one_plus_e));
  }
  Vec::store(tile.loss->linear_lanes, linear);
  Vec::store(tile.loss->factor_lanes, factors);
}

// The means, packed, and their gradients with their own centers.
template <class Product, class Rows>
[[gnu::noinline]] void make_means(const CbowTile& tile, CbowBuffers& buffers, const TileLayout<Product>& layout,
                                  Prefetcher& prefetch) noexcept {
  const std::size_t depth = tile.depth;
  for (std::size_t first = 0; first < kPositions; first += kGroup) {
    Vec::Reg products[kGroup];
    for (std::size_t j = 0; j < kGroup; ++j) {
      prefetch.advance();
      if (first + j + kAhead < kPositions) {
        fetch_row<Rows>(tile.center_rows[first + j + kAhead], depth);
      }
      products[j] = make_mean<Rows>(tile, first + j, buffers.hidden + (first + j) * depth);
    }
    Vec::store_sums(products, buffers.gradients + first);
    finish_means(tile, first, buffers.gradients);
    pack_inputs<Product, Float32Rows>(layout, first, first + kGroup);
  }
  pack_outputs<Product, Rows>(layout, tile.negative_rows, tile.negative_count, layout.first_negative);
}

template <class Rows>
[[gnu::noinline]] void update_centers(const CbowTile& tile, void* const* rows, const CbowBuffers& buffers,
                                      Prefetcher& prefetch, RoundingBits& random) noexcept {
  const std::size_t depth = tile.depth;
  for (std::size_t j = 0; j < kPositions; ++j) {
    prefetch.advance();
    auto* const center = static_cast<typename Rows::Element*>(rows[j]);
    const float scale = tile.center_scales == nullptr ? 1.0F : tile.center_scales[j];
    const Vec::Reg gradient = Vec::broadcast(scale * buffers.gradients[j]);
    for (std::size_t i = 0; i < depth; i += kLanes) {
      Rows::add(center + i, Vec::mul(gradient, Vec::load(buffers.hidden + j * depth + i)), random);
    }
  }
}

// Adds to context rows [begin, end) the errors of the centers that they are contexts of.
template <class Rows>
inline void spread_errors(const CbowTile& tile, void* const* rows, const float* error, std::size_t begin,
                          std::size_t end, Prefetcher& prefetch, RoundingBits& random) noexcept {
  for (std::size_t c = begin; c < end; ++c) {
    prefetch.advance();
    if (tile.context_centers[c] == 0) continue;
    auto* const row = static_cast<typename Rows::Element*>(rows[c]);
    const float row_scale = tile.context_scales == nullptr ? 1.0F : tile.context_scales[c];
    for_runs<kRowColumns>(tile.depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
      constexpr std::size_t kColumns = decltype(count)::value;
      const std::size_t at = vector * kLanes;
      Vec::Reg sums[kColumns];
      for (auto& sum : sums) sum = Vec::zero();
      for (std::uint64_t bits = tile.context_centers[c]; bits != 0; bits &= bits - 1) {
        const auto j = static_cast<std::size_t>(__builtin_ctzll(bits));
        const Vec::Reg scale = Vec::broadcast(row_scale * tile.gradient_scale[j]);
        const float* const from = error + j * tile.depth + at;
        for (std::size_t v = 0; v < kColumns; ++v) sums[v] = Vec::fma(scale, Vec::load(from + v * kLanes), sums[v]);
      }
      for (std::size_t v = 0; v < kColumns; ++v) Rows::add(row + at + v * kLanes, sums[v], random);
    });
  }
}

// The errors of a block of means: of their own centers and of the negatives.
template <class Product, class Rows>
[[gnu::always_inline]] inline void make_errors(const CbowTile& tile, const CbowBuffers& buffers,
                                               const TileLayout<Product>& layout, std::size_t first) noexcept {
  constexpr std::size_t kFactors = Product::kFactors;
  const std::size_t depth = tile.depth;
  for_runs<kMostColumns>(depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
    constexpr std::size_t kColumns = decltype(count)::value;
    const std::size_t at = vector * kLanes;
    Vec::Reg sums[kBlockRows * kColumns];
    for (std::size_t r = 0; r < kBlockRows; ++r) {
      const auto* const center = static_cast<const typename Rows::Element*>(tile.center_rows[first + r]) + at;
      const Vec::Reg gradient = Vec::broadcast(buffers.gradients[first + r]);
      for (std::size_t c = 0; c < kColumns; ++c) {
        sums[r * kColumns + c] = Vec::mul(gradient, Rows::load(center + c * kLanes));
      }
    }
    accumulate<Product, kBlockRows, kColumns>(
        sums, layout.by_row(layout.first_negative, layout.halo + first), layout.pitch, 1,
        layout.output_by_row + layout.first_negative / kFactors * depth + at, depth, tile.negative_count / kFactors);
    for (std::size_t r = 0; r < kBlockRows; ++r) {
      for (std::size_t c = 0; c < kColumns; ++c) {
        Vec::store(buffers.error + (first + r) * depth + at + c * kLanes, sums[r * kColumns + c]);
      }
    }
  });
}

// A context row is updated as soon as the last center that it may belong to has its error.
template <class Product, class Rows, class Updated>
[[gnu::noinline]] void update_contexts(const CbowTile& tile, void* const* rows, const CbowBuffers& buffers,
                                       const TileLayout<Product>& layout, Prefetcher& prefetch,
                                       RoundingBits& random) noexcept {
  for (std::size_t first = 0; first < kPositions; first += kBlockRows) {
    make_errors<Product, Rows>(tile, buffers, layout, first);
    spread_errors<Updated>(tile, rows, buffers.error, first, first + kBlockRows, prefetch, random);
  }
  spread_errors<Updated>(tile, rows, buffers.error, kPositions, kPositions + 2 * tile.window, prefetch, random);
}

// How often a tile prefetches: row by row, as many at once would fill the line buffers.
inline std::size_t prefetch_places(const CbowTile& tile) noexcept {
  return 3 * kPositions + 2 * std::size_t{tile.window} + 2 * std::size_t{tile.negative_count} / kBlockRows;
}

// The tile of the means: float32 whatever the format of the rows.
inline SgnsTile inner_tile(const CbowTile& tile, const CbowBuffers& buffers) noexcept {
  return {.input_rows = buffers.hidden_rows,
          .center_rows = tile.center_rows,
          .negative_rows = tile.negative_rows,
          .center_contexts = nullptr,
          .input_weights = tile.center_weights,
          .special_weights = tile.special_weights,
          .input_scales = nullptr,
          .center_scales = nullptr,
          .negative_scales = tile.negative_scales,
          .prefetch_rows = tile.prefetch_rows,
          .sum_rows = nullptr,
          .rounding_seed = tile.rounding_seed,
          .prefetch_count = tile.prefetch_count,
          .negative_count = tile.negative_count,
          .window = 0,
          .dim = tile.dim,
          .depth = tile.depth,
          .learning_rate = tile.learning_rate,
          .row_format = tile.row_format,
          .workspace = buffers.rest,
          .loss = tile.loss};
}

// `Updated` is Rows, or StoredSums.
template <class Product, class Rows, class Updated>
[[gnu::always_inline]] inline void update_cbow(const CbowTile& tile, const CbowBuffers& buffers,
                                               const TileLayout<Product>& layout, Prefetcher& prefetch) noexcept {
  const CbowTargets targets = cbow_targets(tile);
  RoundingBits random(tile.rounding_seed);
  update_contexts<Product, Rows, Updated>(tile, targets.contexts, buffers, layout, prefetch, random);
  update_outputs<Product, Updated>(layout, {}, {targets.negatives, tile.negative_scales}, prefetch, random);
  update_centers<Updated>(tile, targets.centers, buffers, prefetch, random);
}

template <class Product, class Rows>
void run_cbow_tile(const CbowTile& tile) noexcept {
  CbowBuffers buffers(tile);
  const SgnsTile inner = inner_tile(tile, buffers);
  const TileLayout<Product> layout(inner, false);
  Prefetcher prefetch(inner, prefetch_places(tile));
  make_means<Product, Rows>(tile, buffers, layout, prefetch);
  score_negatives(layout, prefetch);
  if (tile.sum_rows != nullptr) return update_cbow<Product, Rows, StoredSums>(tile, buffers, layout, prefetch);
  update_cbow<Product, Rows, Rows>(tile, buffers, layout, prefetch);
}

template <class Product>
void cbow_tile(const CbowTile& tile) noexcept {
  switch (tile.row_format) {
    case RowFormat::kFloat32: return run_cbow_tile<Product, Float32Rows>(tile);
    case RowFormat::kBfloat16: return run_cbow_tile<Product, Bfloat16Rows>(tile);
    case RowFormat::kFloat16: return run_cbow_tile<Product, Float16Rows>(tile);
  }
}

}  // namespace
}  // namespace fastembed
