// The avx2 tier: the kernels of kernels/all.inl.hpp over the avx2 Vec. Exports exactly one symbol, its table.
#include "simd/vec_avx2.hpp"
//
#include "kernels/all.inl.hpp"
#include "kernels/byte_pairs_product.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_own_table() {
  KernelTable table = make_table();
  use_for_codes<BytePairsProduct>(table);
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_avx2 = make_own_table();

}  // namespace fastembed
