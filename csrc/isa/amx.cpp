// The amx tier: the tile's products on AMX matrix tiles; everything else is the avx512 tier's.
#include "simd/vec_avx512.hpp"
//
#include "simd/matrix_tiles_amx.hpp"
//
#include "kernels/amx_tile.inl.hpp"

namespace fastembed {
namespace {

consteval KernelTable make_override() {
  KernelTable table{};
  table.sgns_tile = &amx_sgns_tile;
  table.cbow_tile = &amx_cbow_tile;
  return table;
}

}  // namespace

extern constinit const KernelTable kTable_amx = make_override();

}  // namespace fastembed
