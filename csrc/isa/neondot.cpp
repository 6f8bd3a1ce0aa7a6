// The neondot tier: the int8 products of the search four bytes at a time; everything else is the neon tier's.
#include "simd/vec_neon.hpp"
//
#include "kernels/coarse_product.inl.hpp"
#include "kernels/medium_codes.inl.hpp"
#include "kernels/neon_dot_product.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_override() {
  KernelTable table{};
  use_for_codes<SignedByteProduct>(table);
  table.scan_code_rows = &scan_code_rows<SignedByteProduct>;
  table.scan_coarse_rows = &scan_coarse_rows<SignedByteProduct>;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_neondot = make_override();

}  // namespace fastembed
