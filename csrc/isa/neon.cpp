// The neon tier: the kernels of kernels/all.inl.hpp over the neon Vec. Exports exactly one symbol, its table.
#include "simd/vec_neon.hpp"
//
#include "kernels/all.inl.hpp"

namespace fastembed {

extern constinit const KernelTable kTable_neon = make_table();

}  // namespace fastembed
