// What the kernels of training are told: plain data, part of cpu/kernel_table.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastembed {

/// Rows of the training matrices are padded with zeros to a multiple of this many floats.
constexpr std::uint32_t kRowPadding = 16;

/// Running negative log-likelihood. A kernel adds softplus terms; `total` is complete once the lanes are folded in,
/// which every training kernel does by itself before the lanes can overflow and `drain_loss` does at the end.
struct LossSum {
  double total;                // natural-log units
  float linear_lanes[16];      // sum of max(z, 0), one partial sum a lane
  float factor_lanes[16];      // product of 1 + exp(-|z|), each in (1, 2]; the logarithm is taken once per fold
  std::uint32_t factor_count;  // factors multiplied into a lane since the last fold
  std::uint32_t pad;
};

/// The tokens of a piece of text that subsampling keeps. Draw first + i of the stream `key` (support/rng.hpp) belongs
/// to ids[i], i = 0 .. count - 1: the token is kept where the upper half is at most thresholds[ids[i]], and its window
/// reaches least + (lower half * span) / 2^32 far. Of those kept, in order: the word, offset + i and the reach, each to
/// its list, which has room for count + kDrawRoom. `readable` ids may be read, at least `count`, and more are fetched.
struct TokenDraws {
  const std::int32_t* ids;
  const std::uint32_t* thresholds;
  std::uint64_t key;
  std::uint64_t first;
  std::size_t count;
  std::size_t readable;
  std::int32_t* words;
  std::int32_t* offsets;
  std::int32_t* reaches;
  std::int32_t offset;
  std::uint32_t least;
  std::uint32_t span;
};
constexpr std::size_t kDrawRoom = 16;

/// A column of an alias table: itself up to the threshold, else its alias.
struct AliasColumn {
  std::uint32_t threshold;
  std::int32_t alias;
};

/// words[k] = what draw first + k of the stream `key` gives, k = 0 .. count - 1: its upper half chooses the column, the
/// lower half between it and its alias. Then the columns of `fetched` draws from fetched_first on are fetched.
struct AliasDraws {
  const AliasColumn* columns;
  std::uint64_t column_count;
  std::uint64_t key;
  std::uint64_t first;
  std::uint64_t fetched_first;
  std::size_t count;
  std::size_t fetched;
  std::int32_t* words;
};

/// One skip-gram step: the `context_count` input rows of a window against `target_count` output rows, of which
/// target 0 is the positive (the center) and the rest are negatives. With x[c][t] = <in_c, out_t> and
/// g[c][t] = learning_rate * (label[t] - sigmoid(x[c][t])), all taken before any update:
///   in_c  += sum_t g[c][t] * out_t        out_t += sum_c g[c][t] * in_c
/// Repeated output rows are allowed and receive every update. An input row that occurs a second time must be given
/// in `context_values` as a copy made before the step, while `context_rows` names the real row both times.
/// `prefetch_rows` names target_count + 1 rows that a later step will need, or is null.
/// `depth` is a multiple of kRowPadding. `workspace` is 64-byte aligned and holds
/// (context_count + target_count) * depth + gradient_floats(context_count, target_count) floats.
struct SgnsWindow {
  const float* const* context_values;
  float* const* context_rows;
  float* const* target_rows;
  const float* const* prefetch_rows;
  std::uint32_t context_count;
  std::uint32_t target_count;
  std::uint32_t depth;
  float learning_rate;
  float* workspace;
  LossSum* loss;
};

/// How many pairs ahead of its use a negative's row is prefetched.
constexpr std::uint32_t kPairLookahead = 3;

/// The skip-gram pairs of one center, one step after another: pair p is input row context_rows[p] against the output
/// row of word `center` and those of its own negative_count negatives, which are words. A step is SgnsWindow's with one
/// context; a negative equal to the center does not count. Row w of the output rows begins at output_rows + w * depth.
/// `negatives` names those of pair_count + kPairLookahead pairs, the last of which are only prefetched.
/// `target_rows` has room for negative_count + 1 pointers. `workspace` is SgnsWindow's for one context and
/// negative_count + 1 targets.
struct SgnsPairs {
  float* const* context_rows;
  float* output_rows;
  const std::int32_t* negatives;
  float** target_rows;
  std::int32_t center;
  std::uint32_t pair_count;
  std::uint32_t negative_count;
  std::uint32_t depth;
  float learning_rate;
  float* workspace;
  LossSum* loss;
};

/// One CBOW step: h = hidden_scale * sum of the context rows, against `target_count` output rows as above:
///   out_t += g[t] * h        every in_c += gradient_scale * sum_t g[t] * out_t (the values before the step)
/// Repeated input and output rows are allowed and receive every update. `prefetch_rows` as above. `workspace` is
/// 64-byte aligned and holds (target_count + 2) * depth + gradient_floats(1, target_count) floats, where
/// gradient_floats(c, t) is 32 * ceil(c / 2) * ceil(t / 6), enough for every tier's register blocks.
struct CbowWindow {
  float* const* context_rows;
  float* const* target_rows;
  const float* const* prefetch_rows;
  std::uint32_t context_count;
  std::uint32_t target_count;
  std::uint32_t depth;
  float learning_rate;
  float hidden_scale;
  float gradient_scale;
  float* workspace;
  LossSum* loss;
};

/// Input rows of a tile: consecutive positions of the subsampled text.
constexpr std::uint32_t kTilePositions = 64;

/// The counts of a tile's center rows and negatives are padded to a multiple of it.
constexpr std::uint32_t kTileRows = 16;
/// Groups of the negatives of a CBOW tile.
constexpr std::uint32_t kCbowGroups = 4;

/// How the rows of the training matrices are stored. The 16-bit formats are rounded stochastically when updated: to
/// either neighbour with probabilities that make the expectation exact.
enum class RowFormat : std::uint32_t { kFloat32, kBfloat16, kFloat16 };

/// One skip-gram step for a tile of text: kTilePositions input rows, the output rows of the same positions and of
/// `window` more on each side (center j is the word of input j - window), and negatives shared by the whole tile.
/// With x = <in_i, out_r>, all taken before any update:
///   g = learning_rate * (1 - sigmoid(x)) for a center r and its contexts i, 0 for other inputs;
///   g = -learning_rate * weight(i, r) * sigmoid(x) for a negative r;
///   in_i += input_scales[i] * sum_r g[i][r] * out_r        out_r += scale_r * sum_i g[i][r] * in_i
/// with scale_r of center_scales or negative_scales; all scales are 1 when their pointer is null. The weight is
/// special_weights[r][i] where special_weights[r] is not null, else input_weights[i]. The loss takes the negatives by
/// the same weights. Rows may repeat and receive every update; a row that must not change (padding) has no context and
/// no weight. `center_rows` has tile_center_rows(window) entries, and so has `center_contexts`: bit i of entry j is set
/// when input i is a context of center j. `negative_count` is a multiple of kTileRows, at least one. `dim` is the
/// number of columns in use, `depth` the same padded to kRowPadding. `prefetch_rows` names rows that a later tile will
/// need. `rounding_seed` seeds the stochastic rounding of 16-bit rows. `workspace` is 64-byte aligned and holds
/// tile_workspace_floats(...) floats, zeros before its first use; it serves tiles of the same window, negative_count
/// and depth only. With `sum_rows` no row changes: what would be added to a row is stored instead, at one address for
/// each of the inputs, then of the tile_center_rows(window) centers, then of the negatives, `depth` floats each, all
/// distinct. Centers without contexts may be left out. Null: rows are updated in place.
struct SgnsTile {
  void* const* input_rows;
  void* const* center_rows;
  void* const* negative_rows;
  const std::uint64_t* center_contexts;
  const float* input_weights;
  const float* const* special_weights;
  const float* input_scales;
  const float* center_scales;
  const float* negative_scales;
  const void* const* prefetch_rows;
  void* const* sum_rows;
  std::uint64_t rounding_seed;
  std::uint32_t prefetch_count;
  std::uint32_t negative_count;
  std::uint32_t window;
  std::uint32_t dim;
  std::uint32_t depth;
  float learning_rate;
  RowFormat row_format;
  float* workspace;
  LossSum* loss;
};

/// One CBOW step for a tile of text: kTilePositions centers, each with its output row, the input rows of the same
/// positions and of `window` more on each side (context c is the word of center c - window), and negatives in
/// kCbowGroups groups of the same size, one after the other: center j meets those of group j % kCbowGroups. The
/// contexts of center j are [context_begin[j], context_end[j]) but for j + window, the center itself. With h_j =
/// hidden_scale[j] * sum of its context rows and x = <h_j, out_r>, all taken before any update:
///   g = learning_rate * (1 - sigmoid(x)) for the center's own row, -learning_rate * negative_weight * sigmoid(x) for a
///   negative r of its group if negative_centers[r] has bit j set, else 0;
///   out_r += scale_r * sum_j g[j][r] * h_j
///   every context c of j += context_scales[c] * gradient_scale[j] * sum_r g[j][r] * out_r
/// Scales are 1 where their pointer is null, but for hidden_scale, which is 0 for padding.
/// context_centers[c] has bit j set when c is a context of center j, `centers` when center j is not padding, which has
/// no contexts (begin == end). The other members are those of SgnsTile; `sum_rows` names an address for each of the
/// kTilePositions + 2 * window contexts, then of the negatives, then of the centers, which is the order of the updates
/// in place. Those of contexts without a center are not written. `workspace` holds cbow_workspace_floats(...) floats.
struct CbowTile {
  void* const* context_rows;
  void* const* center_rows;
  void* const* negative_rows;
  const std::uint32_t* context_begin;
  const std::uint32_t* context_end;
  const std::uint64_t* context_centers;
  const float* hidden_scale;
  const float* gradient_scale;
  const std::uint64_t* negative_centers;
  const float* context_scales;
  const float* center_scales;
  const float* negative_scales;
  const void* const* prefetch_rows;
  void* const* sum_rows;
  std::uint64_t rounding_seed;
  std::uint64_t centers;
  std::uint32_t prefetch_count;
  std::uint32_t negative_count;
  std::uint32_t window;
  std::uint32_t dim;
  std::uint32_t depth;
  float learning_rate;
  float negative_weight;
  RowFormat row_format;
  float* workspace;
  LossSum* loss;
};

/// rows[i] += sums[i] for i = 0 .. count - 1, in this order: rows may repeat. `sums[i]` points to `depth` floats, a
/// multiple of kRowPadding. 16-bit rows are rounded stochastically; their bits depend on `rounding_seed` and the order.
struct RowSums {
  void* const* rows;
  const float* const* sums;
  std::uint64_t rounding_seed;
  std::size_t count;
  std::uint32_t depth;
  RowFormat row_format;
};

constexpr std::size_t tile_round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

constexpr std::size_t tile_center_rows(std::size_t window) {
  return tile_round_up(kTilePositions + 2 * window, kTileRows);
}

/// The rest lays out the workspace. Columns of the tile's transposed inputs: input i is column tile_halo(window) + i.
constexpr std::size_t tile_halo(std::size_t window) { return tile_round_up(2 * window, 16); }
constexpr std::size_t tile_columns(std::size_t window) {
  return tile_round_up(tile_center_rows(window) + tile_halo(window), 64) + 32;
}

/// Packed output rows: centers, then zeros enough for a matrix tile that begins at the last block of centers, then
/// the negatives.
constexpr std::size_t tile_first_negative(std::size_t window) {
  return kTilePositions - kTileRows + tile_round_up(kTileRows + 2 * window, 32);
}

constexpr std::size_t tile_workspace_floats(std::size_t window, std::size_t negative_count, std::size_t depth) {
  const std::size_t rows = tile_first_negative(window) + tile_round_up(negative_count, 32);
  const std::size_t padded = tile_round_up(depth, 32);
  const std::size_t columns = tile_columns(window);
  return (2 * rows + 3 * columns + 16) * padded + (2 * rows + 16) * columns + 16 * rows + 2048;
}

/// Running sums of contexts that a CBOW tile keeps, a power of two: those around kTileRows centers.
constexpr std::size_t cbow_running_sums(std::size_t window) {
  std::size_t sums = 32;
  while (sums <= kTileRows + 2 * window) sums *= 2;
  return sums;
}

constexpr std::size_t cbow_workspace_floats(std::size_t window, std::size_t negative_count, std::size_t depth) {
  const std::size_t padded = tile_round_up(depth, 32);
  return (cbow_running_sums(window) + 4 * kTilePositions + 2 * negative_count) * padded + 32 * negative_count;
}

}  // namespace fastembed
