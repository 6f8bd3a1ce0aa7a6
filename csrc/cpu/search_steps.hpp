// What the kernels of search are told: plain data, part of cpu/kernel_table.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastembed {

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
  std::uint32_t stream;            // as below
};

/// Vectors in parts of bfloat16: x = h + m + l, where h is x rounded to bfloat16, m what is left of x, rounded, and l
/// what is left then, which fits. In tiles of kSplitSide vectors by kSplitDepth elements: of vectors 16 v .. 16 v + 15
/// and elements 32 s .. 32 s + 31, part p (0: h) is tile (v * steps + s) * kSplitParts + p of kSplitTile elements, with
/// zeros where there is none. In a tile of rows, row r is that of vector r; in one of columns, row k has elements 2k
/// and 2k + 1 of each vector. There are tiles for a multiple of kSplitBlock vectors.
constexpr std::size_t kSplitSide = 16, kSplitDepth = 32, kSplitParts = 3, kSplitBlock = 32;
constexpr std::size_t kSplitTile = kSplitSide * kSplitDepth;
constexpr std::size_t split_steps(std::size_t depth) { return (depth + kSplitDepth - 1) / kSplitDepth; }
constexpr std::size_t split_elements(std::size_t vectors, std::size_t depth) {
  return (vectors + kSplitBlock - 1) / kSplitBlock * 2 * split_steps(depth) * kSplitParts * kSplitTile;
}

/// Vectors times scales, powers of two that leave no element above 2^100 (smaller than 2^-100: its parts may be 0).
struct SplitPack {
  const float* vectors;
  std::size_t stride;
  const float* scales;
  std::uint16_t* out;  // 64-byte aligned, split_elements(count, depth) of them
  std::uint32_t count;
  std::uint32_t depth;
  std::uint32_t as_columns;  // 0 or 1
};

/// Rows against columns, both split: with s[r][j] of h h, and apart from it of h m + m h + m m + h l + l h, two sums of
/// float32 that are added at the end,
///   out[r][j] = (s * row_factors[r]) * column_factors[j]                                        without squares
///   out[r][j] = max(0, (row_squares[r] + column_squares[j]) - 2 (s * row_factors[r]) * column_factors[j])  with them
/// |error of s| <= (1.05 depth + 6) 2^-24 sum |x_i y_i|, for vectors of norms 1/2 .. 1 and 2^-100 more: what is left
/// out is below 2.1 * 2^-24, products of h pass through `depth` roundings to nearest, those of parts 2^-8 as large
/// through five times as many. Factors and squares of columns are read up to a multiple of kSplitBlock. With `stream`
/// results go past the caches: `out` is 64-byte aligned then, and out_stride a multiple of 16.
struct SplitProduct {
  const std::uint16_t* rows;
  const std::uint16_t* columns;
  const float* row_factors;
  const float* column_factors;
  const float* row_squares;
  const float* column_squares;
  float* out;
  std::size_t out_stride;
  std::uint32_t row_count;
  std::uint32_t column_count;
  std::uint32_t depth;
  std::uint32_t stream;  // 0 or 1
};

/// A product s reaches a threshold T when s >= f T + o, where a row of norm n has f = factor + factor_slope n and
/// o = offset + offset_slope n + offset_square n^2.
struct RowTerms {
  float factor;
  float factor_slope;
  float offset;
  float offset_slope;
  float offset_square;
};

/// Estimates come in blocks of this many, the last one filled up with -infinity.
constexpr std::size_t kEstimateBlock = 64;

/// The thresholds that the products of `count` rows reach: estimates[r] = (s - o) / f, with at most six roundings of
/// float32 relative to the largest of its terms. Of every block, greatest[16 b + j] is the greatest of estimates j,
/// j + 16, j + 32 and j + 48. Norms are known_norms, or where that is null the roots of `squares`, which go to `norms`.
/// Nothing is promised of any unless all norms are in least_norm .. greatest_norm. Outputs have whole blocks.
struct RowEstimates {
  const float* products;
  const float* known_norms;
  const float* squares;
  float* norms;
  float* estimates;
  float* greatest;
  std::size_t count;
  RowTerms terms;
  float least_norm;
  float greatest_norm;
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
/// and 2^-120 a term. Unless `residuals`, `coarse` or `quarters` are null, for codes of a byte, row j has its residuals
/// at residuals + j * nibble_stride(depth), the upper halves of its codes' bytes as far behind coarse, the two bits
/// below these at quarters + j * quarter_stride(depth), and their errors are as errors, of what c + r / kResidualSteps,
/// what the upper halves and what the upper six bits leave of u y.
struct CodeRows {
  const float* columns;
  std::uint8_t* codes;
  float* scales;
  float* lengths;
  float* errors;
  float* squares;
  std::uint8_t* residuals;
  float* residual_errors;
  std::uint8_t* coarse;
  float* coarse_errors;
  std::uint8_t* quarters;
  float* medium_errors;
  std::size_t code_stride;
  std::uint32_t depth;
};

/// Rows of 4 bits an element: elements i and i + 32 of every 64 are a byte, the former in its lower half; a row has
/// whole blocks of 64, whatever is behind its last element.
constexpr std::size_t kNibbleBlock = 64;
constexpr std::size_t nibble_stride(std::size_t depth) {
  return (depth + kNibbleBlock - 1) / kNibbleBlock * kNibbleBlock / 2;
}

/// Rows of 2 bits an element: elements i, i + 16, i + 32 and i + 48 of every 64 are a byte, the first in its lowest
/// bits.
constexpr std::size_t quarter_stride(std::size_t depth) { return nibble_stride(depth) / 2; }

/// The upper half of a code's byte, n, stands for kCoarseUnit (2 n - kCoarseZero).
constexpr int kCoarseUnit = 8, kCoarseZero = 15;
/// Its upper six bits, n, stand for kMediumUnit (2 n - kMediumZero).
constexpr int kMediumUnit = 2, kMediumZero = 63;

/// What a code leaves over, in 4 bits: r = e in sixteenths, rounded to -8 .. 7; kept is r + 8.
constexpr int kResidualSteps = 16, kResidualZero = 8;
/// What 16 times the code's byte and the residual's half byte have to give up for 16 c + r.
constexpr int kRefinedZero = kCodeZero * kResidualSteps + kResidualZero;

/// A row's codes and residuals, and a query of whole blocks, zeros behind its last element. Codes are read up to a
/// whole block, which is what kCodeSlack is for.
struct RefinedProduct {
  const std::uint8_t* codes;
  const std::uint8_t* residuals;
  const std::int16_t* query;
  std::size_t blocks;
};

/// Query vectors of integers made ready for scan_codes. `depth` is that of the codes, a multiple of kCodePadding;
/// queries[j] begins at queries + j * depth, |element| <= code_query_limit (width 1: any). `panel` is 64-byte aligned
/// and has room for width * (depth + 64) elements of 2 bytes; corrections for `width` of them. `width` is
/// kPanelQueries, kNarrowPanelQueries or 1; columns from `count` on are zeros. pack_coarse_query takes one
/// query and a panel with room for depth + 128 bytes.
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
  std::uint32_t row;    // of the rows that were given
  std::uint32_t query;  // of the panel
};

/// Several of them: what the kernel keeps until it lists them.
struct CodeHits {
  std::uint64_t bits;
  std::uint32_t row;
  std::uint32_t query;
};

/// Rows of codes against a panel of queries: D[r][j] = sum of c_r[i] Q_j[i], exact; the caller sees to it that
/// 256 * depth * max |Q| < 2^31. Written to `hits` (room for row_count * width) is where D >= floor(T);
/// `words` is memory that the kernel needs (row_count * width / 2 + 1 of them). With
///   T = keys[j] * scales[g] - slopes[j] * lengths[g] - weights[j] * errors[g] (+ row_terms[r] * units[j])
/// for the row's group g, brought to -2^30 .. 2^30, NaN to 2^30; a few roundings of float32. The last term only where
/// row_terms is not null. row_count is a multiple of kCodeGroup. `prefetch` as in PanelScan, and so `pieces`,
/// piece_count times piece_lines of them.
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
  CodeHits* words;
  const char* prefetch;
  const char* const* pieces;
  std::uint32_t prefetch_lines;
  std::uint32_t piece_count;
  std::uint32_t piece_lines;
  std::uint32_t hits_are_rare;  // thought to be: how, not what
  std::uint32_t row_count;
  std::uint32_t depth;
  std::uint32_t width;
};

/// Rows of medium codes for scan_medium_codes, as half bytes and quarters: rows and row_stride of CodeScan are not
/// read, row_count is a multiple of kMediumStrip, and D[r][j] = sum of (2 n_r[i] - kMediumZero) Q_j[i]. Nothing is read
/// behind the last row. `room`, 64-byte aligned, is memory that the kernel needs: two strips of nibble_stride * 2 bytes
/// a row.
struct MediumRows {
  const std::uint8_t* coarse;
  const std::uint8_t* quarters;
  std::uint8_t* room;
};
constexpr std::size_t kMediumStrip = 16;

/// Products D of one query with row_count rows, a multiple of kCodeGroup, against T of CodeScan, with the one query's
/// terms. `products` and, unless null, row_terms can be read up to a multiple of kCodeRows.
struct CodeThresholds {
  const float* scales;
  const float* lengths;
  const float* errors;
  const float* row_terms;
  float key;
  float slope;
  float weight;
  float unit;
  std::uint32_t row_count;
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

}  // namespace fastembed
