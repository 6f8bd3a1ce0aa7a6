// The avx512bf16 tier: the tile's products and those of bfloat16 rows in pairs with float32 sums; everything else is
// the avx512vnni tier's.
#include "simd/vec_avx512.hpp"
//
#include "kernels/bf16_pairs.inl.hpp"
#include "kernels/bf16_product.inl.hpp"
//
#include "kernels/cbow_tile.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_override() {
  KernelTable table{};
  table.sgns_tile = &sgns_tile<Bf16Product>;
  table.cbow_tile = &cbow_tile<Bf16Product>;
  table.bf16_query_bits = &bf16_query_bits<Bf16Pairs>;
  table.pack_bf16_panel = &pack_bf16_panel<Bf16Pairs>;
  table.scan_bf16_codes = &scan_codes<Bf16Pairs>;
  table.greatest_bf16_codes = &greatest_codes<Bf16Pairs>;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_avx512bf16 = make_override();

}  // namespace fastembed
