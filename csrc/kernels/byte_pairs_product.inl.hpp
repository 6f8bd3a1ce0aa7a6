// Products of codes with queries of 7 bits where bytes are multiplied in pairs whose sums saturate at int16 (AVX2):
// 255 * 63 * 2 does not reach that. Codes are the unsigned side, so that their zero is taken off again, once a query.
#pragma once

#include "kernels/four_bytes.inl.hpp"

namespace fastembed {
namespace {

struct BytePairsProduct : FourBytes<BytePairsProduct> {
  using Lanes = CodeLanes;
  using Reg = CodeLanes::Reg;
  static constexpr std::int32_t kQueryLimit = 63;
  static constexpr std::size_t kRows = CodeLanes::kRows;
  static constexpr std::size_t kElements = 4;  // of four bytes
  static constexpr std::size_t kProducts = 4;  // summed in a lane at once
  static_assert(2 * 255 * kQueryLimit <= INT16_MAX);

  [[gnu::always_inline]] static Reg add_products(Reg sum, Reg a, Reg b) noexcept {
    return CodeLanes::add_byte_pairs(sum, a, b);
  }

  static void pack(const CodePanel& step) noexcept { pack_fours(step, kCodeZero); }
  // One query has 15 bits.
  static void pack_single(const CodePanel& step) noexcept { PairProduct::pack_single(step); }
};

}  // namespace
}  // namespace fastembed
