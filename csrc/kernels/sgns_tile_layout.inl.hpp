// The workspace of sgns_tile.inl.hpp, and where a tile's output rows are read: there, or where they lie.
#pragma once

#include "kernels/tile_product.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kLanes = Vec::kLanes;
constexpr std::size_t kMostColumns = Vec::kTileColumns;
constexpr std::size_t kPositions = kTilePositions;

// The workspace, laid out for one tile. Output rows are the centers and then the negatives. What no stage writes stays
// zero: the columns beside the inputs, the gradients outside the band, the padding of the depth.
template <class Product>
struct TileLayout {
  static constexpr std::size_t kFactors = Product::kFactors;

  explicit TileLayout(const SgnsTile& step) noexcept
      : tile(step),
        depth(tile.depth),
        depth_pitch(kFactors == 1 ? depth : tile_round_up(depth / kFactors, 16)),
        first_negative(tile_first_negative(tile.window)),
        used_centers(tile_round_up(kPositions + 2 * tile.window, kBlockRows)),
        band_rows(kBlockRows + 2 * tile.window),
        rows(first_negative + tile_round_up(tile.negative_count, 32)),
        halo(tile_halo(tile.window)),
        lead(halo - tile_round_up(2 * tile.window, kBlockRows)),
        pitch(tile_columns(tile.window)),
        band(tile_round_up(halo - lead + kBlockRows, kLanes)) {
    float* free = tile.workspace;
    const auto take = [&free](std::size_t floats) {
      float* const taken = free;
      free += tile_round_up(floats, 16);
      return taken;
    };
    input_columns = take(tile_round_up(depth_pitch, 16) * pitch);
    input_by_depth = take(kPositions * depth_pitch);
    input_by_row = kFactors == 1 ? input_by_depth : take(pitch / kFactors * depth) + halo / kFactors * depth;
    output_by_depth = take(rows * depth_pitch);
    output_by_row = kFactors == 1 ? output_by_depth : take(rows / kFactors * depth);
    gradient_by_input = take(rows * pitch / kFactors);
    gradient_by_row = kFactors == 1 ? gradient_by_input : take(rows / kFactors * pitch);
    linear = take(kPositions);
    factor = take(kPositions);
  }

  // Gradients of output row r at an input's column; r and the column are multiples of kFactors where they count steps.
  [[nodiscard]] float* by_input(std::size_t r, std::size_t column) const noexcept {
    return gradient_by_input + (r * pitch + column) / kFactors;
  }
  [[nodiscard]] float* by_row(std::size_t r, std::size_t column) const noexcept {
    return gradient_by_row + r / kFactors * pitch + column;
  }

  const SgnsTile& tile;
  std::size_t depth;
  std::size_t depth_pitch;     // elements of a row packed by depth
  std::size_t first_negative;  // output row
  std::size_t used_centers;
  std::size_t band_rows;  // centers that a block of inputs may have
  std::size_t rows;
  std::size_t halo;
  std::size_t lead;  // the first column that a block of centers is scored against, less its row
  std::size_t pitch;
  std::size_t band;          // columns of inputs that a block of centers is scored against
  float* input_columns;      // element (step of depth, halo + input)
  float* input_by_depth;     // element (input, step of depth)
  float* input_by_row;       // element (step of inputs, column of depth)
  float* output_by_depth;    // element (row, step of depth)
  float* output_by_row;      // element (step of rows, column of depth)
  float* gradient_by_input;  // element (row, step of inputs)
  float* gradient_by_row;    // element (step of rows, halo + input)
  float* linear;             // loss of the negatives by input: sum of max(z, 0)
  float* factor;             // and product of 1 + exp(-|z|)
};

// Whether output rows are read where they are, and not packed: this tile adds nothing to one before it has read all.
template <class Product, class Rows>
constexpr bool kReadsInPlace = false;
template <>
constexpr bool kReadsInPlace<FloatProduct, Float32Rows> = true;
template <class Product, class Rows>
constexpr bool kInWords = Product::template kInWords<Rows>;

// Output rows, where they are or as they are packed.
template <bool kInPlace>
inline auto output_rows(void* const* rows, const float* packed, std::size_t pitch) noexcept {
  if constexpr (kInPlace) {
    return RowsAnywhere{rows};
  } else {
    return RowsInOrder{packed, pitch};
  }
}
// From the first center or the first negative on, for products along the depth.
template <class Product, class Rows>
inline auto centers_by_depth(const TileLayout<Product>& layout) noexcept {
  constexpr bool kInPlace = kReadsInPlace<Product, Rows> || kInWords<Product, Rows>;
  return output_rows<kInPlace>(layout.tile.center_rows, layout.output_by_depth, layout.depth_pitch);
}
template <class Product, class Rows>
inline auto negatives_by_depth(const TileLayout<Product>& layout) noexcept {
  constexpr bool kInPlace = kReadsInPlace<Product, Rows> || kInWords<Product, Rows>;
  const float* const packed = layout.output_by_depth + layout.first_negative * layout.depth_pitch;
  return output_rows<kInPlace>(layout.tile.negative_rows, packed, layout.depth_pitch);
}
// The same for products along the rows, of which kFactors make a step.
template <class Product, class Rows>
inline auto centers_by_row(const TileLayout<Product>& layout) noexcept {
  return output_rows<kReadsInPlace<Product, Rows>>(layout.tile.center_rows, layout.output_by_row, layout.depth);
}
template <class Product, class Rows>
inline auto negatives_by_row(const TileLayout<Product>& layout) noexcept {
  const float* const packed = layout.output_by_row + layout.first_negative / Product::kFactors * layout.depth;
  return output_rows<kReadsInPlace<Product, Rows>>(layout.tile.negative_rows, packed, layout.depth);
}

}  // namespace
}  // namespace fastembed
