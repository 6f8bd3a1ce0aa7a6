// struct KernelTable: one function pointer per kernel, and the written contract of each. Included by the ISA
// translation units, so it may hold plain data only: no std:: templates, no inline functions.
// All float rows are float32. "Row" pointers need no alignment unless said; 64-byte alignment is fastest.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/search_steps.hpp"
#include "cpu/training_steps.hpp"

namespace fastembed {

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
  /* See TokenDraws; returns how many are kept. Then AliasDraws. */                                                    \
  X(draw_tokens, std::size_t, (const TokenDraws& step))                                                                \
  X(draw_aliases, void, (const AliasDraws& step))                                                                      \
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
  /* Whether multiply_split is faster than multiply_panel_f32. */                                                      \
  X(prefers_split, bool, ())                                                                                           \
  /* See SplitPack. */                                                                                                 \
  X(pack_split, void, (const SplitPack& step))                                                                         \
  /* See SplitProduct. */                                                                                              \
  X(multiply_split, void, (const SplitProduct& step))                                                                  \
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
  /* See RowEstimates; false where a norm lies outside of its bounds. */                                               \
  X(estimate_rows_f32, bool, (const RowEstimates& step))                                                               \
  /* The numbers of the values that are at least `least`, ascending, to `rows`, which has `room` for some; room + 1    \
     when there are more. `count` is a multiple of kEstimateBlock. */                                                  \
  X(rows_at_least_f32, std::size_t,                                                                                    \
    (const float* values, std::size_t count, float least, std::uint32_t* rows, std::size_t room))                      \
  /* What the rows stand for, row r to out + r * out_stride floats: the same bits on every tier. */                    \
  X(widen_rows, void, (const NarrowRows& rows, float* out, std::size_t out_stride))                                    \
  /* products[r] = <row_r, query> of what the rows stand for; the bound of PanelScan. */                               \
  X(scan_narrow_rows, void, (const NarrowRows& rows, const float* query, float* products))                             \
  /* See CodeColumns. */                                                                                               \
  X(turn_columns_f32, void, (const CodeColumns& step))                                                                 \
  /* See CodeRows. */                                                                                                  \
  X(code_rows_u8, void, (const CodeRows& step))                                                                        \
  /* The sum of (kResidualSteps c + r) query[i] over all elements; the caller sees to it that the product of both      \
     sides' lengths is below 2^31. */                                                                                  \
  X(refined_product, std::int32_t, (const RefinedProduct& step))                                                       \
  /* The greatest |element| of a query in a panel of scan_codes. */                                                    \
  X(code_query_limit, std::int32_t, ())                                                                                \
  /* See CodePanel. */                                                                                                 \
  X(pack_code_panel, void, (const CodePanel& step))                                                                    \
  /* See CodeScan; returns the number of hits. */                                                                      \
  X(scan_codes, std::uint32_t, (const CodeScan& scan))                                                                 \
  /* The same of medium codes; see MediumRows. */                                                                      \
  X(scan_medium_codes, std::uint32_t, (const CodeScan& scan, const MediumRows& rows))                                  \
  /* Which row of a group is probably the best: greatest[g * width + j] is, to a relative 2^-19 of what is added, the  \
     greatest of (D[r][j] - row_terms[r] * units[j]) / scales[g] (see CodeScan) over the rows of group g, and its      \
     lowest three bits are the row's number in the group; -FLT_MAX where scales[g] is 0. Keys, slopes, weights and     \
     hits are not read. depth is at least 1. */                                                                        \
  X(greatest_codes, void, (const CodeScan& scan, float* greatest))                                                     \
  /* products[r] = D of `count` rows and the query of a panel of width 1, modulo 2^32. */                              \
  X(scan_code_rows, void,                                                                                              \
    (const std::uint8_t* rows, std::size_t row_stride, std::size_t count, std::size_t depth, const void* panel,        \
     std::int32_t correction, std::int32_t* products))                                                                 \
  /* Makes one query, |element| <= 127, ready for scan_coarse_rows; see CodePanel. */                                  \
  X(pack_coarse_query, void, (const CodePanel& step))                                                                  \
  /* products[r] = sum of (2 n_r[i] - kCoarseZero) Q[i] of `count`   rows of half bytes, a multiple of kCodeGroup; the \
     caller sees to it that 128 * depth * max |Q| < 2^30. Up to 64 bytes behind the last row are read. */              \
  X(scan_coarse_rows, void,                                                                                            \
    (const std::uint8_t* rows, std::size_t row_stride, std::size_t count, const void* panel, std::int32_t correction,  \
     std::int32_t* products))                                                                                          \
  /* The numbers of the rows whose products reach what CodeThresholds says, ascending, to `rows`, which has room for   \
     all; returns how many. Then the same for products in float32. */                                                  \
  X(reached_code_rows, std::uint32_t, (const CodeThresholds& step, const std::int32_t* products, std::uint32_t* rows)) \
  X(reached_bf16_rows, std::uint32_t, (const CodeThresholds& step, const float* products, std::uint32_t* rows))        \
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
