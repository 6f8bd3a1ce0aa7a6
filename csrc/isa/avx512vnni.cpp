// The avx512vnni tier: the int8 products of the search four bytes at a time; everything else is the avx512 tier's.
#include "simd/vec_avx512.hpp"
//
#include "kernels/coarse_product.inl.hpp"
#include "kernels/vnni_product.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_override() {
  KernelTable table{};
  table.code_query_limit = &code_query_limit<ByteProduct>;
  table.pack_code_panel = &pack_code_panel<ByteProduct>;
  table.scan_codes = &scan_codes<ByteProduct>;
  table.greatest_codes = &greatest_codes<ByteProduct>;
  table.scan_code_rows = &scan_code_rows<ByteProduct>;
  table.scan_coarse_rows = &scan_coarse_rows<ByteProduct>;
  table.code_peak = &code_peak<ByteProduct>;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_avx512vnni = make_override();

}  // namespace fastembed
