// The avx2 tier: the kernels of kernels/all.inl.hpp over the avx2 Vec. Exports exactly one symbol, its table.
#include "simd/vec_avx2.hpp"
//
#include "kernels/all.inl.hpp"

namespace fastembed {

extern constinit const KernelTable kTable_avx2 = make_table();

}  // namespace fastembed
