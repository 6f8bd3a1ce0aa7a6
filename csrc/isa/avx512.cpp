// The avx512 tier: the kernels of kernels/all.inl.hpp over the avx512 Vec. Exports exactly one symbol, its table.
#include "simd/vec_avx512.hpp"
//
#include "kernels/all.inl.hpp"
#include "kernels/byte_pairs_product.inl.hpp"
#include "kernels/wide_draws.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_wide_table() {
  KernelTable table = make_table();
  use_for_codes<BytePairsProduct>(table);
  table.draw_tokens = &draw_wide_tokens;
  table.draw_aliases = &draw_wide_aliases;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_avx512 = make_wide_table();

}  // namespace fastembed
