// The scalar tier: the kernels of kernels/all.inl.hpp over the scalar Vec. Exports exactly one symbol, its table.
#include "simd/vec_scalar.hpp"
//
#include "kernels/all.inl.hpp"

namespace fastembed {

extern constinit const KernelTable kTable_scalar = make_table();

}  // namespace fastembed
