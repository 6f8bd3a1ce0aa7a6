// Every kernel, named in one place. Include after exactly one simd/vec_*.hpp.
#pragma once

#include "kernels/add_rows.inl.hpp"
#include "kernels/bf16_codes.inl.hpp"
#include "kernels/cbow_tile.inl.hpp"
#include "kernels/cbow_window.inl.hpp"
#include "kernels/coarse_product.inl.hpp"
#include "kernels/code_rows.inl.hpp"
#include "kernels/dot.inl.hpp"
#include "kernels/exact_score.inl.hpp"
#include "kernels/kth_greatest.inl.hpp"
#include "kernels/medium_codes.inl.hpp"
#include "kernels/narrow_rows.inl.hpp"
#include "kernels/peak.inl.hpp"
#include "kernels/reached_rows.inl.hpp"
#include "kernels/refined_product.inl.hpp"
#include "kernels/row_estimates.inl.hpp"
#include "kernels/scan_codes.inl.hpp"
#include "kernels/scan_panel.inl.hpp"
#include "kernels/scan_rows.inl.hpp"
#include "kernels/sgns_pairs.inl.hpp"
#include "kernels/sgns_tile.inl.hpp"
#include "kernels/sgns_window.inl.hpp"
#include "kernels/sigmoid.inl.hpp"
#include "kernels/split_product.inl.hpp"
#include "kernels/token_draws.inl.hpp"
#include "kernels/whitespace.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_table() {
  return {
      .dot_f32 = &dot_f32,
      .sigmoid_f32 = &sigmoid_f32,
      .draw_tokens = &draw_tokens,
      .draw_aliases = &draw_aliases,
      .sgns_window_f32 = &sgns_window_f32,
      .sgns_pairs_f32 = &sgns_pairs_f32,
      .cbow_window_f32 = &cbow_window_f32,
      .sgns_tile = &sgns_tile<FloatProduct>,
      .cbow_tile = &cbow_tile<FloatProduct>,
      .add_rows = &add_rows,
      .scan_panel_f32 = &scan_panel_f32,
      .pack_panel_f32 = &pack_panel_f32,
      .multiply_panel_f32 = &multiply_panel_f32,
      .prefers_split = &prefers_split<PlainTiles>,
      .pack_split = &pack_split,
      .multiply_split = &multiply_split<PlainTiles>,
      .scan_rows_f32 = &scan_rows_f32,
      .squared_norms_f32 = &squared_norms_f32,
      .exact_dot_f32 = &exact_dot_f32,
      .exact_dot_and_square_f32 = &exact_dot_and_square_f32,
      .exact_squared_distance_f32 = &exact_squared_distance_f32,
      .kth_greatest_f32 = &kth_greatest_f32,
      .estimate_rows_f32 = &estimate_rows_f32,
      .rows_at_least_f32 = &rows_at_least_f32,
      .widen_rows = &widen_rows,
      .scan_narrow_rows = &scan_narrow_rows,
      .turn_columns_f32 = &turn_columns_f32,
      .code_rows_u8 = &code_rows<ByteCoding>,
      .refined_product = &refined_product,
      .code_query_limit = &code_query_limit<PairProduct>,
      .pack_code_panel = &pack_code_panel<PairProduct>,
      .scan_codes = &scan_codes<PairProduct>,
      .scan_medium_codes = &scan_medium_codes<PairProduct>,
      .greatest_codes = &greatest_codes<PairProduct>,
      .scan_code_rows = &scan_code_rows<PairProduct>,
      .pack_coarse_query = &pack_coarse_query,
      .scan_coarse_rows = &scan_coarse_rows<HalfByteProduct>,
      .reached_code_rows = &reached_rows<CodeLanes, std::int32_t>,
      .reached_bf16_rows = &reached_rows<FloatSums, float>,
      .code_rows_bf16 = &code_rows<Bf16Coding>,
      .bf16_query_bits = &bf16_query_bits<WideProduct>,
      .pack_bf16_panel = &pack_bf16_panel<WideProduct>,
      .scan_bf16_codes = &scan_codes<WideProduct>,
      .greatest_bf16_codes = &greatest_codes<WideProduct>,
      .scan_bf16_rows = &scan_bf16_rows,
      .code_peak = &code_peak<PairProduct>,
      .drain_loss = &drain_loss,
      .fma_peak_f32 = &fma_peak_f32,
      .token_edges_u8 = &token_edges_u8,
  };
}

}  // namespace
}  // namespace fastembed
