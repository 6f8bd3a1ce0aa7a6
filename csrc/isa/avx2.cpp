// The avx2 tier: the kernels of kernels/all.inl.hpp over the avx2 Vec. Exports exactly one symbol, its table.
#include "simd/vec_avx2.hpp"
//
#include "kernels/all.inl.hpp"
#include "kernels/byte_pairs_product.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_own_table() {
  KernelTable table = make_table();
  table.code_query_limit = &code_query_limit<BytePairsProduct>;
  table.pack_code_panel = &pack_code_panel<BytePairsProduct>;
  table.scan_codes = &scan_codes<BytePairsProduct>;
  table.greatest_codes = &greatest_codes<BytePairsProduct>;
  table.code_peak = &code_peak<BytePairsProduct>;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_avx2 = make_own_table();

}  // namespace fastembed
