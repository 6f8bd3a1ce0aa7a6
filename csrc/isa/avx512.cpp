// The avx512 tier: the kernels of kernels/all.inl.hpp over the avx512 Vec. Exports exactly one symbol, its table.
#include "simd/vec_avx512.hpp"
//
#include "kernels/all.inl.hpp"

namespace fastembed {

extern constinit const KernelTable kTable_avx512 = make_table();

}  // namespace fastembed
