// The workspace of amx_tile.inl.hpp and how a tile's rows come into it. What a matrix tile is loaded from lies in lines
// of 64 bytes one after the other wherever it can: no product loads lines a power of two apart.
#pragma once

#include "kernels/bf16_product.inl.hpp"
#include "kernels/sgns_tile.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kTileSide = 16;                         // rows and columns of sums, and pairs in a step
constexpr std::size_t kTileDepth = 2 * kTileSide;             // factors in a step
constexpr std::size_t kTileFloats = kTileSide * kTileSide;    // of a matrix tile
constexpr std::size_t kInputBlocks = kPositions / kTileSide;  // blocks of 16 inputs
// Updates go through the depth by slabs of so many columns of tiles, of which L1 holds the panels of one side and the
// sums. An even number: neighbouring panels may hold even and odd columns.
constexpr std::size_t kSlabTiles = 8;

// Blocks are of 16 rows, of centers, negatives or inputs; an element is a pair of bfloat16. The band of a block of
// centers are the inputs that its gradients can be other than zero at, and some before them: `band` columns, of which
// the last 16 are the inputs of the block's own numbers. What nothing writes stays zero: inputs before the first and
// after the last, output rows between the centers and the negatives and their gradients, the padding of the depth.
struct AmxLayout {
  explicit AmxLayout(const SgnsTile& step) noexcept
      : tile(step),
        depth(step.depth),
        depth_tiles(depth / kTileSide),
        slabs((depth_tiles + kSlabTiles - 1) / kSlabTiles),
        steps((depth + kTileDepth - 1) / kTileDepth),
        used_centers(kPositions + 2 * std::size_t{step.window}),
        center_blocks(tile_center_rows(step.window) / kTileSide),
        reach((2 * std::size_t{step.window} + kTileSide - 1) / kTileSide),
        band(tile_round_up(kTileSide + 2 * std::size_t{step.window}, kTileDepth)),
        band_steps(band / kTileDepth),
        first_negative(tile_first_negative(step.window)),
        negative_steps((step.negative_count + kTileDepth - 1) / kTileDepth),
        turned_steps(band_steps + negative_steps),
        input_pitch(panel_pitch(center_blocks * kTileSide + band - kTileSide)),
        output_pitch(panel_pitch(first_negative + negative_steps * kTileDepth)) {
    float* free = tile.workspace;
    const auto take = [&free](std::size_t floats) {
      float* const taken = free;
      free += floats;
      return taken;
    };
    const std::size_t negatives = tile.negative_count;
    input_columns = take(steps * kInputBlocks * kTileFloats);
    output_blocks = take(2 * kTileDepth * kTileSide * steps);
    scores = take(2 * kTileDepth * kPositions);
    center_gradients = take(center_blocks * kTileSide * band / 2);
    negative_gradients = take(negatives * kPositions / 2);
    center_pairs = take(first_negative / 2 * band);
    turned = take(kInputBlocks * turned_steps * kTileFloats);
    input_panels = take(depth_tiles * input_pitch);
    output_panels = take(depth_tiles * output_pitch);
    sums = take(2 * kSlabTiles * kTileFloats);
  }

  // An odd number of lines, so that those of neighbours do not fall on the same place of the cache.
  static constexpr std::size_t panel_pitch(std::size_t rows) noexcept { return (rows / 2 | 1) * kTileSide; }
  // Where the block of output rows that is the n-th to be scored is, and its scores.
  [[nodiscard]] float* output_block(std::size_t n) const noexcept {
    return output_blocks + n % 2 * kTileDepth * kTileSide * steps;
  }
  [[nodiscard]] float* scores_of(std::size_t n) const noexcept { return scores + n % 2 * kTileDepth * kPositions; }
  // Of input 0 in a panel.
  [[nodiscard]] std::size_t first_input_pair() const noexcept { return (band - kTileSide) / 2; }
  // The first block of inputs that may be a context of a block of centers, and the end of those.
  [[nodiscard]] std::size_t first_context_block(std::size_t center_block) const noexcept {
    return center_block > reach ? center_block - reach : 0;
  }
  [[nodiscard]] static constexpr std::size_t end_context_block(std::size_t center_block) noexcept {
    return center_block < kInputBlocks ? center_block + 1 : kInputBlocks;
  }
  // Negatives of a step, 16 or 32.
  [[nodiscard]] std::size_t negatives_of(std::size_t step) const noexcept {
    const std::size_t rest = tile.negative_count - step * kTileDepth;
    return rest < kTileDepth ? rest : kTileDepth;
  }
  // Column of a block of inputs in the band of a block of centers, at most 16 more than there are before its own.
  [[nodiscard]] std::size_t band_column(std::size_t center_block, std::size_t input_block) const noexcept {
    return band - kTileSide - (center_block - input_block) * kTileSide;
  }

  const SgnsTile& tile;
  std::size_t depth;
  std::size_t depth_tiles;  // 16 columns each
  std::size_t slabs;        // of those
  std::size_t steps;        // of the depth
  std::size_t used_centers;
  std::size_t center_blocks;
  std::size_t reach;  // blocks of inputs before a center's own with contexts
  std::size_t band;
  std::size_t band_steps;
  std::size_t first_negative;  // row, in panels
  std::size_t negative_steps;
  std::size_t turned_steps;
  std::size_t input_pitch;    // elements of a panel
  std::size_t output_pitch;   // the same
  float* input_columns;       // tile (step of depth, block of inputs): element (pair of depth, input)
  float* output_blocks;       // twice: tile (block, step of depth): element (row, pair of depth)
  float* scores;              // twice: row, input or column of the band
  float* center_gradients;    // block: row, pair of the band's columns
  float* negative_gradients;  // row, pair of inputs
  float* center_pairs;        // block: pair of rows, column of the band
  float* turned;              // tile (block of inputs, step of rows): element (input, pair of rows), gradients
  float* input_panels;        // panel (16 columns of depth): element (pair of inputs, column)
  float* output_panels;       // panel (16 columns of depth): element (pair of rows, column)
  float* sums;                // twice: tile (16 columns of depth), sums of 16 rows on their way there
};

// What a tile does with lines of prefetches in between, so many of 256 in all of each: about their shares of the time.
enum class Stage { kInputs, kOutputs, kSigmoids, kSums };
constexpr std::uint32_t kStageShares[] = {33, 44, 64, 115};

// Prefetches the rows of a later tile, line after line, evenly over the whole tile: more at once than there are line
// buffers (16) would hold up what the tile itself reads. (Lines in place of Prefetcher's rows in the other tiles: 2 to
// 4% slower there.)
class LinePrefetcher {
 public:
  explicit LinePrefetcher(const AmxLayout& layout) noexcept
      : row_(layout.tile.prefetch_rows), end_(layout.tile.prefetch_rows + layout.tile.prefetch_count) {
    const SgnsTile& tile = layout.tile;
    row_lines_ = (tile.depth * (tile.row_format == RowFormat::kFloat32 ? 4 : 2) + kLineBytes - 1) / kLineBytes;
    const std::size_t outputs = layout.used_centers + tile.negative_count;
    const std::size_t turns[] = {kInputBlocks * layout.steps, outputs / 2,
                                 (layout.used_centers + kInputBlocks * layout.negative_steps * kTileDepth) / 2,
                                 layout.slabs * (kPositions + outputs)};
    const std::size_t lines = tile.prefetch_count * row_lines_;
    for (std::size_t stage = 0; stage < 4; ++stage) {
      paces_[stage] = static_cast<std::uint32_t>(lines * kStageShares[stage] * (kOneLine / 256) / turns[stage]) + 1;
    }
  }

  // One turn of a stage.
  template <Stage kStage>
  [[gnu::always_inline]] void advance() noexcept {
    for (owed_ += paces_[static_cast<int>(kStage)]; owed_ >= kOneLine; owed_ -= kOneLine) {
      if (row_ == end_) continue;
      __builtin_prefetch(static_cast<const unsigned char*>(*row_) + line_ * kLineBytes, 1, 2);
      if (++line_ < row_lines_) continue;
      line_ = 0;
      ++row_;
    }
  }

 private:
  static constexpr std::size_t kLineBytes = 64;
  static constexpr std::uint32_t kOneLine = 1U << 16;
  const void* const* row_;
  const void* const* end_;
  std::size_t row_lines_;
  std::size_t line_ = 0;
  std::uint32_t owed_ = 0;  // of kOneLine a line
  std::uint32_t paces_[4];
};

// 32 values of a row as bfloat16, the second 16 zeros unless `whole`. Their order, where they are not words of the row,
// is that which to_panels brings to panels in order, in groups of 4: 0, 4, 1, 5, 2, 6, 3, 7.
template <class Rows>
[[gnu::always_inline]] inline __m512i load_step(const typename Rows::Element* from, bool whole) noexcept {
  if constexpr (kSplitsPairs<Rows>) return load_words(from, whole);
  const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  const Vec::Reg low = Rows::load(from), high = whole ? Rows::load(from + kTileSide) : Vec::zero();
  return _mm512_permutexvar_epi64(order, Bf16Product::round_both(low, high));
}

// Both rows' columns, pair by pair: those of two panels, or, unless `whole`, of the first alone. Words of a row of
// bfloat16 become panels of even and odd columns, and so sums go back into them.
template <class Rows>
[[gnu::always_inline]] inline PanelPair to_panels(__m512i row0, __m512i row1, bool whole) noexcept {
  if constexpr (kSplitsPairs<Rows>) return pair_words(row0, row1, whole);
  return {_mm512_castsi512_ps(_mm512_unpacklo_epi16(row0, row1)),
          _mm512_castsi512_ps(_mm512_unpackhi_epi16(row0, row1))};
}

// The inputs, turned into columns, and to panels.
template <class Rows>
[[gnu::noinline]] void pack_inputs(const AmxLayout& layout, LinePrefetcher& prefetch) noexcept {
  LinePrefetcher lines = prefetch;  // in registers
  const std::size_t pitch = layout.input_pitch;
  for (std::size_t block = 0; block < kInputBlocks; ++block) {
    void* const* const rows = layout.tile.input_rows + block * kTileSide;
    float* panel = layout.input_panels + (layout.first_input_pair() + block * kTileSide / 2) * kTileSide;
    for (std::size_t step = 0; step < layout.steps; ++step, panel += 2 * pitch) {
      const bool whole = (step + 1) * kTileDepth <= layout.depth;
      lines.advance<Stage::kInputs>();
      __m512i words[kTileSide];
      for (std::size_t j = 0; j < kTileSide; ++j) {
        words[j] = load_step<Rows>(static_cast<const typename Rows::Element*>(rows[j]) + step * kTileDepth, whole);
      }
      for (std::size_t j = 0; j < kTileSide; j += 2) {
        const PanelPair pair = to_panels<Rows>(words[j], words[j + 1], whole);
        Vec::store(panel + j / 2 * kTileSide, pair.first);
        if (whole) Vec::store(panel + pitch + j / 2 * kTileSide, pair.second);
      }
      Vec::Reg columns[kTileSide];
      for (std::size_t j = 0; j < kTileSide; ++j) columns[j] = _mm512_castsi512_ps(words[j]);
      Vec::transpose(columns);
      float* const to = layout.input_columns + (step * kInputBlocks + block) * kTileFloats;
      for (std::size_t j = 0; j < kTileSide; ++j) Vec::store(to + j * kTileSide, columns[j]);
    }
  }
  prefetch = lines;
}

// `count` output rows, an even number: to tiles, and to panels from `panel` on.
template <class Rows>
inline void pack_rows(const AmxLayout& layout, void* const* rows, std::size_t count, float* to, float* panel,
                      LinePrefetcher& prefetch) noexcept {
  const std::size_t pitch = layout.output_pitch, depth = layout.depth;
  for (std::size_t r = 0; r < count; r += 2, panel += kTileSide) {
    prefetch.advance<Stage::kOutputs>();
    const auto* const from0 = static_cast<const typename Rows::Element*>(rows[r]);
    const auto* const from1 = static_cast<const typename Rows::Element*>(rows[r + 1]);
    float* at = to + r * kTileSide;
    float* panels = panel;
    const auto pack = [&](std::size_t column, bool whole) __attribute__((always_inline)) {
      const __m512i words0 = load_step<Rows>(from0 + column, whole), words1 = load_step<Rows>(from1 + column, whole);
      Vec::store(at, _mm512_castsi512_ps(words0));
      Vec::store(at + kTileSide, _mm512_castsi512_ps(words1));
      const PanelPair pair = to_panels<Rows>(words0, words1, whole);
      Vec::store(panels, pair.first);
      if (whole) Vec::store(panels + pitch, pair.second);
      at += kTileFloats;
      panels += 2 * pitch;
    };
    std::size_t column = 0;
    for (; column + kTileDepth <= depth; column += kTileDepth) pack(column, true);
    if (column < depth) pack(column, false);
  }
}

}  // namespace
}  // namespace fastembed
