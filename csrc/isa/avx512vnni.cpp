// The avx512vnni tier: the int8 products of the search four bytes at a time; everything else is the avx512 tier's.
#include "simd/vec_avx512.hpp"
//
#include "kernels/coarse_product.inl.hpp"
#include "kernels/medium_codes.inl.hpp"
#include "kernels/vnni_product.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_override() {
  KernelTable table{};
  use_for_codes<ByteProduct>(table);
  table.scan_code_rows = &scan_code_rows<ByteProduct>;
  table.scan_coarse_rows = &scan_coarse_rows<ByteProduct>;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_avx512vnni = make_override();

}  // namespace fastembed
