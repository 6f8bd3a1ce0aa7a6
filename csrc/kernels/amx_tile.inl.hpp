// The tile step of sgns_tile.inl.hpp with its products on matrix tiles of 16 x 16 sums: the same packing, the same
// workspace, the same finishing of scores. MatrixUnit comes from simd/. What a product reads beyond a band or beyond
// the last row is zero, because nothing ever writes it.
#pragma once

#include "kernels/bf16_product.inl.hpp"
#include "kernels/sgns_tile.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kTileSide = 16;              // rows and columns of sums, and pairs in a step
constexpr std::size_t kTileDepth = 2 * kTileSide;  // factors in a step
using AmxLayout = TileLayout<Bf16Product>;

// Registers: sums in 0..3, what stands on the left in 4, on the right in 5 and 6 by turns.
template <int kCount>
inline void zero_sums() noexcept {
  MatrixUnit::zero<0>();
  if constexpr (kCount > 1) MatrixUnit::zero<1>();
  if constexpr (kCount > 2) MatrixUnit::zero<2>();
  if constexpr (kCount > 3) MatrixUnit::zero<3>();
}

// The tile on the left against kCount tiles side by side.
template <int kCount>
inline void multiply(const float* left, std::size_t left_stride, const float* right,
                     std::size_t right_stride) noexcept {
  MatrixUnit::load<4>(left, left_stride);
  MatrixUnit::load<5>(right, right_stride);
  MatrixUnit::multiply_add<0, 4, 5>();
  if constexpr (kCount > 1) {
    MatrixUnit::load<6>(right + kTileSide, right_stride);
    MatrixUnit::multiply_add<1, 4, 6>();
  }
  if constexpr (kCount > 2) {
    MatrixUnit::load<5>(right + 2 * kTileSide, right_stride);
    MatrixUnit::multiply_add<2, 4, 5>();
  }
  if constexpr (kCount > 3) {
    MatrixUnit::load<6>(right + 3 * kTileSide, right_stride);
    MatrixUnit::multiply_add<3, 4, 6>();
  }
}

template <int kCount>
inline void store_sums(float* to, std::size_t stride) noexcept {
  MatrixUnit::store<0>(to, stride);
  if constexpr (kCount > 1) MatrixUnit::store<1>(to + kTileSide, stride);
  if constexpr (kCount > 2) MatrixUnit::store<2>(to + 2 * kTileSide, stride);
  if constexpr (kCount > 3) MatrixUnit::store<3>(to + 3 * kTileSide, stride);
}

// Scores of 16 output rows against 16 * tiles columns of inputs, to rows `stride` apart.
inline void amx_score(const AmxLayout& layout, std::size_t row, std::size_t column, std::size_t tiles, float* to,
                      std::size_t stride) noexcept {
  for_runs<4>(tiles, [&](std::size_t first, auto count) __attribute__((always_inline)) {
    constexpr int kCount = decltype(count)::value;
    zero_sums<kCount>();
    for (std::size_t step = 0; step < layout.depth_pitch; step += kTileSide) {
      multiply<kCount>(layout.output_by_depth + row * layout.depth_pitch + step, layout.depth_pitch,
                       layout.input_columns + step * layout.pitch + column + first * kTileSide, layout.pitch);
    }
    store_sums<kCount>(to + first * kTileSide, stride);
  });
}

inline void load_block(const float* from, std::size_t stride, Vec::Reg (&block)[kBlockRows]) noexcept {
  for (std::size_t r = 0; r < kBlockRows; ++r) block[r] = Vec::load(from + r * stride);
}

[[gnu::noinline]] void amx_score_centers(const AmxLayout& layout, Prefetcher& prefetch) noexcept {
  // The bands of four blocks of kBlockRows begin at columns row, row + 4 ...
  const std::size_t columns = tile_round_up(layout.band + kTileSide - kBlockRows, kTileSide);
  for (std::size_t row = 0; row < layout.used_centers; row += kTileSide) {
    for (std::size_t n = 0; n < kTileSide / kBlockRows; ++n) prefetch.advance();
    amx_score(layout, row, row, columns / kTileSide, layout.scratch, columns);
    for (std::size_t block = 0; block < kTileSide && row + block < layout.used_centers; block += kBlockRows) {
      for (std::size_t lane = 0; lane < layout.band; lane += kLanes) {
        Vec::Reg scores[kBlockRows];
        load_block(layout.scratch + block * columns + block + lane, columns, scores);
        finish_centers(layout, row + block, row + block + lane, scores);
      }
    }
  }
}

[[gnu::noinline]] void amx_score_negatives(const AmxLayout& layout, Prefetcher& prefetch) noexcept {
  clear_negative_loss(layout);
  for (std::size_t negative = 0; negative < layout.tile.negative_count; negative += kTileSide) {
    for (std::size_t n = 0; n < kTileSide / kBlockRows; ++n) prefetch.advance();
    if (negative % kFactorsPerFloat == 0 && negative != 0) fold_negative_loss(layout);
    amx_score(layout, layout.first_negative + negative, layout.halo, kPositions / kTileSide, layout.scratch,
              kPositions);
    for (std::size_t block = 0; block < kTileSide; block += kBlockRows) {
      for (std::size_t input = 0; input < kPositions; input += kLanes) {
        Vec::Reg scores[kBlockRows];
        load_block(layout.scratch + block * kPositions + input, kPositions, scores);
        finish_negatives(layout, negative + block, input, scores);
      }
    }
  }
  fold_negative_loss(layout);
}

// A run of steps of a product: 16 rows of pairs on the left, pair rows of the depth's width on the right.
struct AmxSteps {
  const float* left;  // advances by left_step
  std::size_t left_stride;
  std::size_t left_step;
  const float* right;  // advances by 16 rows
  std::size_t count;
};

// Adds the products of both runs to 16 rows of a matrix.
template <class Rows>
inline void amx_update(const AmxLayout& layout, const AmxSteps (&runs)[2], const Targets& targets,
                       RoundingBits& random) noexcept {
  const std::size_t depth = layout.depth;
  float* const sums = layout.scratch;
  for_runs<4>(depth / kTileSide, [&](std::size_t tile, auto count) __attribute__((always_inline)) {
    constexpr int kCount = decltype(count)::value;
    const std::size_t at = tile * kTileSide;
    zero_sums<kCount>();
    for (const AmxSteps& run : runs) {
      for (std::size_t step = 0; step < run.count; ++step) {
        multiply<kCount>(run.left + step * run.left_step, run.left_stride, run.right + step * kTileSide * depth + at,
                         depth);
      }
    }
    store_sums<kCount>(sums + at, depth);
  });
  // Scaled in memory: a compiler may join a product and a sum in one rounding, and stored sums could not be added
  // alike.
  for (std::size_t r = 0; targets.scales != nullptr && r < kTileSide; ++r) {
    const Vec::Reg scale = Vec::broadcast(targets.scales[r]);
    for (std::size_t i = r * depth; i < (r + 1) * depth; i += kLanes) {
      Vec::store(sums + i, Vec::mul(scale, Vec::load(sums + i)));
    }
  }
  for (std::size_t r = 0; r < kTileSide; ++r) {
    auto* const row = static_cast<typename Rows::Element*>(targets.rows[r]);
    for (std::size_t i = 0; i < depth; i += kLanes) Rows::add(row + i, Vec::load(sums + r * depth + i), random);
  }
}

// The gradients of 16 inputs by pairs of rows: for each step the 16 x 16 block turned, so that the inputs are rows.
inline void turn_gradients(const AmxLayout& layout, std::size_t row, std::size_t input, std::size_t steps,
                           float* to) noexcept {
  for (std::size_t step = 0; step < steps; ++step) {
    Vec::Reg block[kLanes];
    const float* const from = layout.by_row(row + step * kTileDepth, layout.halo + input);
    for (std::size_t j = 0; j < kTileSide; ++j) block[j] = Vec::load(from + j * layout.pitch);
    Vec::transpose(block);
    for (std::size_t j = 0; j < kTileSide; ++j) Vec::store(to + (step * kTileSide + j) * kTileSide, block[j]);
  }
}

template <class Rows>
[[gnu::noinline]] void amx_update_inputs(const AmxLayout& layout, const Targets& inputs, Prefetcher& prefetch,
                                         RoundingBits& random) noexcept {
  static_assert(kLanes == kTileSide);
  constexpr std::size_t kBlock = kTileSide * kTileSide;
  const std::size_t negative_steps = (layout.tile.negative_count + kTileDepth - 1) / kTileDepth;
  const std::size_t center_steps = (kTileSide + 2 * layout.tile.window + kTileDepth - 1) / kTileDepth;
  float* const negatives = layout.turned;
  float* const centers = negatives + negative_steps * kBlock;
  for (std::size_t input = 0; input < kPositions; input += kTileSide) {
    for (std::size_t n = 0; n < kTileSide / kBlockRows; ++n) prefetch.advance();
    turn_gradients(layout, layout.first_negative, input, negative_steps, negatives);
    turn_gradients(layout, input, input, center_steps, centers);
    const AmxSteps runs[2] = {
        {negatives, kTileSide, kBlock, layout.output_by_row + layout.first_negative / 2 * layout.depth, negative_steps},
        {centers, kTileSide, kBlock, layout.output_by_row + input / 2 * layout.depth, center_steps}};
    amx_update<Rows>(layout, runs, inputs.from(input), random);
  }
}

template <class Rows>
[[gnu::noinline]] void amx_update_outputs(const AmxLayout& layout, const Targets& centers, const Targets& negatives,
                                          Prefetcher& prefetch, RoundingBits& random) noexcept {
  const SgnsTile& tile = layout.tile;
  const AmxSteps nothing{};
  const std::size_t band_steps = (layout.halo + kTileSide + kTileDepth - 1) / kTileDepth;
  for (std::size_t row = 0; row < layout.used_centers; row += kTileSide) {
    for (std::size_t n = 0; n < kTileSide / kBlockRows; ++n) prefetch.advance();
    // The band of row begins at input row - halo, which is column `row`.
    const float* const inputs = layout.input_by_row + row / 2 * layout.depth - layout.halo / 2 * layout.depth;
    const AmxSteps runs[2] = {{layout.by_input(row, row), layout.pitch / 2, kTileSide, inputs, band_steps}, nothing};
    amx_update<Rows>(layout, runs, centers.from(row), random);
  }
  for (std::size_t negative = 0; negative < tile.negative_count; negative += kTileSide) {
    for (std::size_t n = 0; n < kTileSide / kBlockRows; ++n) prefetch.advance();
    const AmxSteps runs[2] = {{layout.by_input(layout.first_negative + negative, layout.halo), layout.pitch / 2,
                               kTileSide, layout.input_by_row, kPositions / kTileDepth},
                              nothing};
    amx_update<Rows>(layout, runs, negatives.from(negative), random);
  }
}

template <class Rows>
void amx_run_tile(const SgnsTile& tile) noexcept {
  const AmxLayout layout(tile);
  Prefetcher prefetch(tile, (2 * (layout.used_centers + tile.negative_count) + kPositions) / kBlockRows);
  RoundingBits random(tile.rounding_seed);
  const MatrixUnit unit;
  pack_tile<Bf16Product, Rows>(layout);
  amx_score_centers(layout, prefetch);
  amx_score_negatives(layout, prefetch);
  Targets inputs{tile.input_rows, tile.input_scales};
  Targets centers{tile.center_rows, tile.center_scales};
  Targets negatives{tile.negative_rows, tile.negative_scales};
  if (tile.sum_rows != nullptr) {
    inputs.rows = tile.sum_rows;
    centers.rows = inputs.rows + kPositions;
    negatives.rows = centers.rows + tile_center_rows(tile.window);
    amx_update_inputs<StoredSums>(layout, inputs, prefetch, random);
    amx_update_outputs<StoredSums>(layout, centers, negatives, prefetch, random);
    return;
  }
  amx_update_inputs<Rows>(layout, inputs, prefetch, random);
  amx_update_outputs<Rows>(layout, centers, negatives, prefetch, random);
}

void amx_sgns_tile(const SgnsTile& tile) noexcept {
  switch (tile.row_format) {
    case RowFormat::kFloat32: return amx_run_tile<Float32Rows>(tile);
    case RowFormat::kBfloat16: return amx_run_tile<Bfloat16Rows>(tile);
    case RowFormat::kFloat16: return amx_run_tile<Float16Rows>(tile);
  }
}

}  // namespace
}  // namespace fastembed
