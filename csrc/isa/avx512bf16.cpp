// The avx512bf16 tier: the tile's products in bfloat16 with float32 sums; everything else is the avx512 tier's.
#include "simd/vec_avx512.hpp"
//
#include "kernels/bf16_product.inl.hpp"
//
#include "kernels/cbow_tile.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_override() {
  KernelTable table{};
  table.sgns_tile = &sgns_tile<Bf16Product>;
  table.cbow_tile = &cbow_tile<Bf16Product>;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_avx512bf16 = make_override();

}  // namespace fastembed
