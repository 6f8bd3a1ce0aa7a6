// struct KernelTable: one function pointer per kernel, and the written contract of each. Included by the ISA
// translation units, so it may hold plain data only: no std:: templates, no inline functions.
// All float rows are float32. "Row" pointers need no alignment unless said; 64-byte alignment is fastest.
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
/// positions and of `window` more on each side (context c is the word of center c - window), and negatives shared by
/// the whole tile. The contexts of center j are [context_begin[j], context_end[j]) but for j + window, the center
/// itself. With h_j = hidden_scale[j] * sum of its context rows and x = <h_j, out_r>, all taken before any update:
///   g = learning_rate * (1 - sigmoid(x)) for the center's own row, -learning_rate * weight(j, r) * sigmoid(x) for a
///   negative r, with the weights of SgnsTile by center;
///   out_r += scale_r * sum_j g[j][r] * h_j
///   every context c of j += context_scales[c] * gradient_scale[j] * sum_r g[j][r] * out_r
/// context_centers[c] has bit j set when c is a context of center j. A center without contexts (begin == end) is
/// padding: its weight must be 0. The other members are those of SgnsTile; `sum_rows` names an address for each of the
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
  const float* center_weights;
  const float* const* special_weights;
  const float* context_scales;
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
constexpr std::size_t tile_halo(std::size_t window) { return tile_round_up(2 * window, 4); }
constexpr std::size_t tile_columns(std::size_t window) {
  return tile_round_up(tile_center_rows(window) + tile_halo(window) + 32, 32);
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

constexpr std::size_t cbow_workspace_floats(std::size_t negative_count, std::size_t depth) {
  return 2 * kTilePositions * depth + tile_workspace_floats(0, negative_count, depth);
}

/// Queries of a panel, packed with their elements side by side: element i of query j is panel[i * width + j].
constexpr std::uint32_t kPanelQueries = 32;
constexpr std::uint32_t kNarrowPanelQueries = 16;

/// A row of the index whose product with a query reached the threshold.
struct PanelHit {
  std::uint32_t row;    // of the rows that were given
  std::uint32_t query;  // of the panel
  float product;
};

/// Rows against a panel of queries: s[r][j] = <row_r, query_j>, where every sum may be taken in any order;
/// |error| <= depth * 2^-24 / (1 - depth * 2^-24) * |row_r| |query_j| + depth * 2^-149. Those with
/// s[r][j] >= row_factors[r] * thresholds[j] + row_offsets[r] (one rounding) are written to `hits`, which has room for
/// row_count * width of them; never where a comparison meets NaN. `width` is kPanelQueries or kNarrowPanelQueries.
/// `prefetch` names prefetch_lines cache lines of 64 bytes, one after the other, that will be wanted soon.
struct PanelScan {
  const float* rows;
  std::size_t row_stride;
  const float* panel;
  const float* row_factors;
  const float* row_offsets;
  const float* thresholds;
  PanelHit* hits;
  const char* prefetch;
  std::uint32_t prefetch_lines;
  std::uint32_t row_count;
  std::uint32_t depth;
  std::uint32_t width;
};

/// Rows against a panel, all results kept: with s as above (the same bound),
///   out[r][j] = (s * row_factors[r]) * column_factors[j]                       when `squared_distance` is false
///   out[r][j] = max(0, (row_factors[r] + column_factors[j]) - 2 s)             when it is true
/// for j < columns <= width.
struct PanelProduct {
  const float* rows;
  std::size_t row_stride;
  const float* panel;
  const float* row_factors;
  const float* column_factors;
  float* out;
  std::size_t out_stride;
  std::uint32_t row_count;
  std::uint32_t depth;
  std::uint32_t width;
  std::uint32_t columns;
  std::uint32_t squared_distance;  // 0 or 1
};

/// Rows of codes come in groups of this many that share a scale.
constexpr std::uint32_t kCodeGroup = 8;
/// Rows that are coded together.
constexpr std::uint32_t kCodeRows = 16;
/// Bytes behind the last code that the kernels may read; rows of codes are padded to a multiple of kCodePadding.
constexpr std::size_t kCodeSlack = 64;
constexpr std::size_t kCodePadding = 4;

/// What an element of a row, in units of its group's step, becomes: c + kCodeZero for c in -127 .. 127.
constexpr int kCodeZero = 128;

/// Vectors side by side: element i of vector j is columns[i * kCodeRows + j]. Takes `mean` off each vector (unless
/// null) and turns it, in place, by an orthogonal matrix: for the first 2^p elements and then,
/// where depth is no power of two, for the last 2^p, with 2^p <= depth < 2^(p+1), each element is multiplied by the
/// next of `signs` and the 2^p go through the Hadamard matrix of +-1 (Sylvester's). `signs` holds +-2^(-p/2), rounded.
struct CodeColumns {
  float* columns;
  const float* mean;
  const float* signs;
  std::uint32_t depth;
  std::uint32_t window;  // 2^p
};

/// Codes kCodeRows vectors y of CodeColumns, two groups: row j to codes + j * code_stride, padded with zeros' codes to
/// code_stride. With u the group's scale, c = round(u y) and e = u y - c:
///   scales[g]  = u, about 127 / max |y|; 1 where all y are 0; 0 where max |y| is below 2^-60 or above 2^60
///   lengths[g] = max |c|^2, errors[g] = max |e|^2 over the rows of the group, relative error below (depth + 2) * 2^-24
///                of sums of squares of e, each of them off by 2^-17 at most
///   squares[j] = |y_j|^2, relative error below (depth + 2) * 2^-24
/// As bfloat16, u = 2^-floor(log2 max |y|), c is u y to the nearest; lengths and errors have the same relative error,
/// and 2^-120 a term.
struct CodeRows {
  const float* columns;
  std::uint8_t* codes;
  float* scales;
  float* lengths;
  float* errors;
  float* squares;
  std::size_t code_stride;
  std::uint32_t depth;
  std::uint32_t pad;
};

/// Query vectors of integers made ready for scan_codes. `depth` is that of the codes, a multiple of kCodePadding;
/// queries[j] begins at queries + j * depth, |element| <= code_query_limit (width 1: any). `panel` is 64-byte aligned
/// and has room for width * (depth + 64) elements of 2 bytes; corrections for `width` of them. `width` is
/// kPanelQueries, kNarrowPanelQueries or 1; columns from `count` on are zeros.
struct CodePanel {
  const std::int16_t* queries;
  void* panel;
  std::int32_t* corrections;
  std::uint32_t count;
  std::uint32_t depth;
  std::uint32_t width;
};

/// The same for scan_bf16_codes. `queries` are floats, of 8 significant bits where bf16_query_bits is 16 and `width` is
/// not 1; `panel` has room for width * (depth + 64) floats; there are no corrections.
struct Bf16Panel {
  const float* queries;
  void* panel;
  std::uint32_t count;
  std::uint32_t depth;  // even
  std::uint32_t width;
};

/// A row whose product with a query reached the threshold.
struct CodeHit {
  std::uint32_t row;     // of the rows that were given
  std::uint32_t query;   // of the panel
  std::int32_t product;  // for scan_bf16_codes the bits of a float32
};

/// Rows of codes against a panel of queries: D[r][j] = sum of c_r[i] Q_j[i], exact; the caller sees to it that
/// 255 * depth * max |Q| < 2^31. Written to `hits` (room for row_count * width) is where D >= floor(T), with
///   T = keys[j] * scales[g] - slopes[j] * lengths[g] - weights[j] * errors[g] (+ row_terms[r] * units[j])
/// for the row's group g, brought to -2^30 .. 2^30, NaN to 2^30; a few roundings of float32. The last term only where
/// row_terms is not null. row_count is a multiple of kCodeGroup. `prefetch` as in PanelScan.
/// scan_bf16_codes: row_stride is in bytes, depth (even) in elements, corrections are zeros. D is a float32 sum in any
/// order, each step rounded to either neighbour, below 2^-126 perhaps to zero: |error| of rows and queries below 2^100
/// is at most (depth + 32) 2^-23 |c_r| |Q_j| + depth * 2^-124. It is compared with T itself, never with NaN.
struct CodeScan {
  const std::uint8_t* rows;
  std::size_t row_stride;
  const void* panel;
  const std::int32_t* corrections;
  const float* scales;
  const float* lengths;
  const float* errors;
  const float* row_terms;
  const float* keys;
  const float* slopes;
  const float* weights;
  const float* units;
  CodeHit* hits;
  const char* prefetch;
  std::uint32_t prefetch_lines;
  std::uint32_t row_count;
  std::uint32_t depth;
  std::uint32_t width;
};

/// What the elements of an index's rows are. kBfloat16 is the upper half of a float32, kInt8 a multiple of a scale that
/// belongs to the row.
enum class Storage : std::uint32_t { kFloat32, kFloat16, kBfloat16, kInt8 };

/// Narrow rows, each `row_stride` bytes behind the one before: `storage` is not kFloat32, elements are finite. They
/// stand for what they are converted to, exactly, and for kInt8 that times the row's scale, one rounding.
struct NarrowRows {
  const void* rows;
  std::size_t row_stride;
  const float* scales;  // null but for kInt8
  std::size_t count;
  std::uint32_t depth;
  Storage storage;
};

/// Where a text changes between white space and token; filled by token_edges_u8 over consecutive pieces of a text.
/// Even entries of `edges` are starts of tokens, odd ones their ends (exclusive). The top bit of an end is set when a
/// newline follows it before the next token starts. `leading_newline` is set when there is a newline before the first
/// edge. `edges` has room for edge_count + 64 * blocks + 8 entries, all of which the kernel may write.
/// To continue, leave `in_token` as it is; ends may be taken out of `edges` together with their starts between calls.
struct TokenEdges {
  std::uint32_t* edges;
  std::uint32_t edge_count;
  std::uint32_t in_token;  // 0 or 1: does the text before this piece end within a token?
  std::uint32_t leading_newline;
  std::uint32_t pad;
};

// name, return type, parameter list. The table, inheritance and introspection are generated from this list.
#define FASTEMBED_KERNELS(X)                                                                                           \
  /* Inner product of two rows of any length; float32 accumulation; |error| <= depth * 2^-24 * sum |a_i b_i|. */       \
  X(dot_f32, float, (const float* a, const float* b, std::size_t depth))                                               \
  /* out[i] = 1 / (1 + exp(-x[i])) for any length, in place allowed; |error| <= 4 * 2^-24 relative, below -87          \
     1.7e-38 absolute. What NaN gives is not specified. */                                                             \
  X(sigmoid_f32, void, (const float* x, std::size_t count, float* out))                                                \
  /* See SgnsWindow. Allocates nothing; needs context_count >= 1 and target_count >= 1. */                             \
  X(sgns_window_f32, void, (const SgnsWindow& step))                                                                   \
  /* See SgnsPairs. Allocates nothing. */                                                                              \
  X(sgns_pairs_f32, void, (const SgnsPairs& step))                                                                     \
  /* See CbowWindow. Allocates nothing; needs context_count >= 1 and target_count >= 1. */                             \
  X(cbow_window_f32, void, (const CbowWindow& step))                                                                   \
  /* See SgnsTile. Allocates nothing. Products are rounded as the tier says: float32, or operands in bfloat16. */      \
  X(sgns_tile, void, (const SgnsTile& tile))                                                                           \
  /* See CbowTile; otherwise as sgns_tile. */                                                                          \
  X(cbow_tile, void, (const CbowTile& tile))                                                                           \
  /* See RowSums. The same bits in whatever runs of consecutive rows float32 rows are given. */                        \
  X(add_rows, void, (const RowSums& step))                                                                             \
  /* See PanelScan; returns the number of hits. */                                                                     \
  X(scan_panel_f32, std::uint32_t, (const PanelScan& scan))                                                            \
  /* out[i * width + j] = rows[j][i] * factors[j] for j < count <= width, 0 for the other columns. `width` is          \
     kPanelQueries or kNarrowPanelQueries. */                                                                          \
  X(pack_panel_f32, void,                                                                                              \
    (const float* rows, std::size_t row_stride, std::size_t count, std::size_t depth, const float* factors,            \
     std::size_t width, float* out))                                                                                   \
  /* See PanelProduct. */                                                                                              \
  X(multiply_panel_f32, void, (const PanelProduct& step))                                                              \
  /* products[r] = <row_r, query> and, unless null, squares[r] = <row_r, row_r>, for `count` rows of any length;       \
     the bound of PanelScan. `from_memory` says that the rows are not expected in a cache: how, not what. */           \
  X(scan_rows_f32, void,                                                                                               \
    (const float* rows, std::size_t row_stride, std::size_t count, std::size_t depth, const float* query,              \
     bool from_memory, float* products, float* squares))                                                               \
  /* squares[r] = <row_r, row_r>. */                                                                                   \
  X(squared_norms_f32, void,                                                                                           \
    (const float* rows, std::size_t row_stride, std::size_t count, std::size_t depth, float* squares))                 \
  /* The sum over i of the products a[i] b[i], exact in float64, in 16 float64 lanes: lane j takes i = j mod 16        \
     in ascending order; then lanes j and j + 8 are added, then + 4, + 2, + 1. The same bits on every tier. */         \
  X(exact_dot_f32, double, (const float* a, const float* b, std::size_t depth))                                        \
  /* The same, and beside it the same sum of b[i] b[i]. */                                                             \
  X(exact_dot_and_square_f32, double, (const float* a, const float* b, std::size_t depth, double* b_square))           \
  /* The same of the squares of a[i] - b[i]; difference, square and sum are each rounded to float64. */                \
  X(exact_squared_distance_f32, double, (const float* a, const float* b, std::size_t depth))                           \
  /* The k-th greatest of `count` values, 1 <= k <= count, none of them NaN; behind them -infinity, up to a multiple   \
     of kRowPadding. */                                                                                                \
  X(kth_greatest_f32, float, (const float* values, std::size_t count, std::size_t k))                                  \
  /* What the rows stand for, row r to out + r * out_stride floats: the same bits on every tier. */                    \
  X(widen_rows, void, (const NarrowRows& rows, float* out, std::size_t out_stride))                                    \
  /* products[r] = <row_r, query> of what the rows stand for; the bound of PanelScan. */                               \
  X(scan_narrow_rows, void, (const NarrowRows& rows, const float* query, float* products))                             \
  /* See CodeColumns. */                                                                                               \
  X(turn_columns_f32, void, (const CodeColumns& step))                                                                 \
  /* See CodeRows. */                                                                                                  \
  X(code_rows_u8, void, (const CodeRows& step))                                                                        \
  /* The greatest |element| of a query in a panel of scan_codes. */                                                    \
  X(code_query_limit, std::int32_t, ())                                                                                \
  /* See CodePanel. */                                                                                                 \
  X(pack_code_panel, void, (const CodePanel& step))                                                                    \
  /* See CodeScan; returns the number of hits. */                                                                      \
  X(scan_codes, std::uint32_t, (const CodeScan& scan))                                                                 \
  /* Which row of a group is probably the best: greatest[g * width + j] is, to a relative 2^-19 of what is added, the  \
     greatest of (D[r][j] - row_terms[r] * units[j]) / scales[g] (see CodeScan) over the rows of group g, and its      \
     lowest three bits are the row's number in the group; -FLT_MAX where scales[g] is 0. Keys, slopes, weights and     \
     hits are not read. depth is at least 1. */                                                                        \
  X(greatest_codes, void, (const CodeScan& scan, float* greatest))                                                     \
  /* products[r] = D of `count` rows and the query of a panel of width 1, modulo 2^32. */                              \
  X(scan_code_rows, void,                                                                                              \
    (const std::uint8_t* rows, std::size_t row_stride, std::size_t count, std::size_t depth, const void* panel,        \
     std::int32_t correction, std::int32_t* products))                                                                 \
  /* The same as code_rows_u8 to bfloat16; see CodeRows. */                                                            \
  X(code_rows_bf16, void, (const CodeRows& step))                                                                      \
  /* Bits of the queries in a panel of scan_bf16_codes: 16 or 32. A panel of width 1 has 32. */                        \
  X(bf16_query_bits, std::uint32_t, ())                                                                                \
  /* See Bf16Panel. */                                                                                                 \
  X(pack_bf16_panel, void, (const Bf16Panel& step))                                                                    \
  /* See CodeScan; returns the number of hits. Then the same as greatest_codes. */                                     \
  X(scan_bf16_codes, std::uint32_t, (const CodeScan& scan))                                                            \
  X(greatest_bf16_codes, void, (const CodeScan& scan, float* greatest))                                                \
  /* products[r] = D of CodeScan of `count` rows, a multiple of kCodeGroup, and the query of a panel of width 1. */    \
  X(scan_bf16_rows, void,                                                                                              \
    (const std::uint8_t* rows, std::size_t row_stride, std::size_t count, std::size_t depth, const void* panel,        \
     float* products))                                                                                                 \
  /* Runs rounds * 12 dependent products of codes and their sums on sink[0 .. 31] in registers; returns the operations \
     done, two a multiply-add. */                                                                                      \
  X(code_peak, double, (std::size_t rounds, std::int32_t* sink))                                                       \
  /* Folds the lanes into loss.total and resets them. */                                                               \
  X(drain_loss, void, (LossSum & loss))                                                                                \
  /* Runs rounds * 12 dependent multiply-adds on sink[0], sink[1] in registers; returns the flops done. */             \
  X(fma_peak_f32, double, (std::size_t rounds, float* sink))                                                           \
  /* See TokenEdges. Reads 64 * blocks bytes at any alignment. White space is \t \n \v \f \r and the space;            \
     every other byte, NUL included, belongs to a token. `position` (below 2^31 - 64 * blocks) is text's own. */       \
  X(token_edges_u8, void, (const std::uint8_t* text, std::size_t blocks, std::uint32_t position, TokenEdges& found))

struct KernelTable {
#define FASTEMBED_KERNEL_MEMBER(name, result, parameters) result(*name) parameters noexcept;
  FASTEMBED_KERNELS(FASTEMBED_KERNEL_MEMBER)
#undef FASTEMBED_KERNEL_MEMBER
};

}  // namespace fastembed
