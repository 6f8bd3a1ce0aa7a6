// CBOW with negative sampling for a tile of 64 centers at once. The means of the contexts are the inputs of a
// skip-gram tile of window 0, where the only context of a center is its own mean; what that tile would add to the
// means goes to the context rows instead. Called by the tile trainer.
#pragma once

#include "kernels/sgns_tile.inl.hpp"

namespace fastembed {
namespace {

// The sums of a block, stored.
struct StoredRows {
  using Element = float;
  static void add(float* to, Vec::Reg sum, RoundingBits&) noexcept { Vec::store(to, sum); }
};

// The pointers and buffers of the inner tile, in the workspace before its own.
struct CbowBuffers {
  explicit CbowBuffers(const CbowTile& tile) noexcept
      : hidden(tile.workspace), error(hidden + kPositions * tile.depth), rest(error + kPositions * tile.depth) {
    for (std::size_t j = 0; j < kPositions; ++j) {
      hidden_rows[j] = hidden + j * tile.depth;
      error_rows[j] = error + j * tile.depth;
      own[j] = tile.context_begin[j] < tile.context_end[j] ? std::uint64_t{1} << j : 0;
    }
  }

  float* hidden;
  float* error;
  float* rest;
  void* hidden_rows[kPositions];
  void* error_rows[kPositions];
  std::uint64_t own[kPositions];
};

template <class Rows, std::size_t kColumns>
[[gnu::always_inline]] inline void add_range(Vec::Reg (&sums)[kColumns], void* const* rows, std::size_t begin,
                                             std::size_t end, std::size_t at) noexcept {
  for (std::size_t c = begin; c < end; ++c) {
    const auto* const row = static_cast<const typename Rows::Element*>(rows[c]) + at;
    for (std::size_t v = 0; v < kColumns; ++v) sums[v] = Vec::add(sums[v], Rows::load(row + v * kLanes));
  }
}

template <class Rows>
[[gnu::noinline]] void sum_contexts(const CbowTile& tile, float* hidden) noexcept {
  for (std::size_t j = 0; j < kPositions; ++j) {
    const std::size_t self = j + tile.window;
    const Vec::Reg scale = Vec::broadcast(tile.hidden_scale[j]);
    for_runs<kMostColumns>(tile.depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
      constexpr std::size_t kColumns = decltype(count)::value;
      const std::size_t at = vector * kLanes;
      Vec::Reg sums[kColumns];
      for (auto& sum : sums) sum = Vec::zero();
      const std::size_t end = tile.context_end[j];
      add_range<Rows, kColumns>(sums, tile.context_rows, tile.context_begin[j], self < end ? self : end, at);
      add_range<Rows, kColumns>(sums, tile.context_rows, self + 1, end, at);
      float* const to = hidden + j * tile.depth + at;
      for (std::size_t v = 0; v < kColumns; ++v) Vec::store(to + v * kLanes, Vec::mul(sums[v], scale));
    });
  }
}

// Adds to every context row the errors of the centers that it is a context of.
template <class Rows>
[[gnu::noinline]] void spread_errors(const CbowTile& tile, const float* error, RoundingBits& random) noexcept {
  for (std::size_t c = 0; c < kPositions + 2 * tile.window; ++c) {
    if (tile.context_centers[c] == 0) continue;
    auto* const row = static_cast<typename Rows::Element*>(tile.context_rows[c]);
    for_runs<kMostColumns>(tile.depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
      constexpr std::size_t kColumns = decltype(count)::value;
      const std::size_t at = vector * kLanes;
      Vec::Reg sums[kColumns];
      for (auto& sum : sums) sum = Vec::zero();
      for (std::uint64_t bits = tile.context_centers[c]; bits != 0; bits &= bits - 1) {
        const auto j = static_cast<std::size_t>(__builtin_ctzll(bits));
        const Vec::Reg scale = Vec::broadcast(tile.gradient_scale[j]);
        const float* const from = error + j * tile.depth + at;
        for (std::size_t v = 0; v < kColumns; ++v) sums[v] = Vec::fma(scale, Vec::load(from + v * kLanes), sums[v]);
      }
      for (std::size_t v = 0; v < kColumns; ++v) Rows::add(row + at + v * kLanes, sums[v], random);
    });
  }
}

// The inner tile: its inputs are the means, float32 whatever the format of the rows.
inline SgnsTile inner_tile(const CbowTile& tile, const CbowBuffers& buffers) noexcept {
  return {.input_rows = buffers.hidden_rows,
          .center_rows = tile.center_rows,
          .negative_rows = tile.negative_rows,
          .center_contexts = buffers.own,
          .input_weights = tile.center_weights,
          .special_weights = tile.special_weights,
          .prefetch_rows = tile.prefetch_rows,
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

template <class Product, class Rows>
void run_cbow_tile(const CbowTile& tile) noexcept {
  const CbowBuffers buffers(tile);
  SgnsTile inner = inner_tile(tile, buffers);
  const TileLayout<Product> layout(inner);
  Prefetcher prefetch(inner, (2 * (layout.used_centers + inner.negative_count) + kPositions) / kBlockRows);
  RoundingBits random(tile.rounding_seed);
  sum_contexts<Rows>(tile, buffers.hidden);
  pack_tile<Product, Float32Rows, Rows>(layout);
  score_centers(layout, prefetch);
  score_negatives(layout, prefetch);
  inner.input_rows = buffers.error_rows;
  update_inputs<Product, StoredRows>(layout, prefetch, random);
  update_outputs<Product, Rows>(layout, prefetch, random);
  spread_errors<Rows>(tile, buffers.error, random);
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
