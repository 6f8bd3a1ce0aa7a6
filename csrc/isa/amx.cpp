// The amx tier: the products of the skip-gram tile and of the search's codes on AMX matrix tiles; everything else is
// what the tiers below give, but for CBOW's tile, which is a sixth faster there with float32 products than with pairs
// of bfloat16.
#include "simd/vec_avx512.hpp"
//
#include "simd/matrix_tiles_amx.hpp"
//
#include "kernels/amx_codes.inl.hpp"
#include "kernels/amx_medium.inl.hpp"
#include "kernels/amx_tile.inl.hpp"
#include "kernels/cbow_tile.inl.hpp"
#include "kernels/split_product.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_override() {
  KernelTable table{};
  table.sgns_tile = &amx_sgns_tile;
  table.cbow_tile = &cbow_tile<FloatProduct>;
  table.pack_code_panel = &pack_code_panel<MatrixByteProduct>;
  table.scan_codes = &scan_codes<MatrixByteProduct>;
  table.scan_medium_codes = &scan_medium_matrix;
  table.greatest_codes = &greatest_codes<MatrixByteProduct>;
  table.prefers_split = &prefers_split<MatrixUnit>;
  table.pack_split = &pack_split;
  table.multiply_split = &multiply_split<MatrixUnit>;
  table.code_peak = &amx_code_peak;
  table.pack_bf16_panel = &pack_bf16_panel<MatrixBf16Product>;
  table.scan_bf16_codes = &scan_codes<MatrixBf16Product>;
  table.greatest_bf16_codes = &greatest_codes<MatrixBf16Product>;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_amx = make_override();

}  // namespace fastembed
