// The neondot tier: the int8 products of the search four bytes at a time; everything else is the neon tier's.
#include "simd/vec_neon.hpp"
//
#include "kernels/coarse_product.inl.hpp"
#include "kernels/neon_dot_product.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_override() {
  KernelTable table{};
  table.code_query_limit = &code_query_limit<SignedByteProduct>;
  table.pack_code_panel = &pack_code_panel<SignedByteProduct>;
  table.scan_codes = &scan_codes<SignedByteProduct>;
  table.greatest_codes = &greatest_codes<SignedByteProduct>;
  table.scan_code_rows = &scan_code_rows<SignedByteProduct>;
  table.scan_coarse_rows = &scan_coarse_rows<SignedByteProduct>;
  table.code_peak = &code_peak<SignedByteProduct>;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_neondot = make_override();

}  // namespace fastembed
