// Products of codes with queries of 6 bits where bytes are multiplied in pairs whose sums saturate at int16: four of
// them, 255 * 31 * 4, do not reach that, so that two steps of the depth are added up before their sums are widened.
// Codes are the unsigned side, so that their zero is taken off again, once a query.
#pragma once

#include "kernels/four_bytes.inl.hpp"

namespace fastembed {
namespace {

struct BytePairsProduct : FourBytes<BytePairsProduct> {
  using Lanes = CodeLanes;
  using Reg = CodeLanes::Reg;
  static constexpr std::int32_t kQueryLimit = 31;
  static constexpr std::size_t kRows = CodeLanes::kRows;
  static constexpr std::size_t kElements = 4;  // of four bytes
  static constexpr std::size_t kProducts = 8;  // summed in a lane at once, by add_most
  static_assert(4 * 255 * kQueryLimit <= INT16_MAX);

  [[gnu::always_inline]] static Reg add_products(Reg sum, Reg a, Reg b) noexcept {
    return CodeLanes::add_byte_pairs(sum, a, b);
  }
  // Of two steps.
  [[gnu::always_inline]] static Reg add_most(Reg sum, Reg a, Reg b) noexcept {
    return CodeLanes::add_widened(sum, CodeLanes::add_pairs(CodeLanes::byte_pairs(a, b), CodeLanes::byte_pairs(b, a)));
  }

  // Eight bytes of every row. Four registers of queries are kept for all rows: with more, gcc runs out of them.
  template <std::size_t kStrip, std::size_t kColumns>
  [[gnu::always_inline]] static void two_steps(Reg (&sums)[kStrip * kColumns], const std::uint8_t* rows,
                                               std::size_t row_stride, const std::uint8_t* panel,
                                               std::size_t width) noexcept {
    constexpr std::size_t kRegister = 4 * static_cast<std::size_t>(Vec::kLanes);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kStrip; ++r) {
      const Reg first = CodeLanes::broadcast_four(rows + r * row_stride);
      const Reg second = CodeLanes::broadcast_four(rows + r * row_stride + 4);
#pragma GCC unroll 2
      for (std::size_t c = 0; c < kColumns; ++c) {
        const std::uint8_t* const queries = panel + c * kRegister;
        const Reg pairs = CodeLanes::byte_pairs(first, CodeLanes::load_bytes(queries));
        const Reg both =
            CodeLanes::add_pairs(pairs, CodeLanes::byte_pairs(second, CodeLanes::load_bytes(queries + 4 * width)));
        sums[r * kColumns + c] = CodeLanes::add_widened(sums[r * kColumns + c], both);
      }
    }
  }

  template <std::size_t kStrip, std::size_t kColumns>
  [[gnu::always_inline]] static void multiply(Reg (&sums)[kStrip * kColumns], const std::uint8_t* rows,
                                              std::size_t row_stride, const void* panel, std::size_t first_query,
                                              std::size_t width, std::size_t depth, PiecePrefetch& prefetch) noexcept {
    const auto* queries = static_cast<const std::uint8_t*>(panel) + 4 * first_query;
    std::size_t i = 0;
    for (; i + 8 <= depth; i += 8, queries += 8 * width) {
      if (i % kPrefetchDepth == 0) prefetch.turn();
      two_steps<kStrip, kColumns>(sums, rows + i, row_stride, queries, width);
    }
    // At most once; as an `if` gcc 12 makes the loop above a sixth slower (AVX2).
    for (; i < depth; i += 4, queries += 4 * width) step<kStrip, kColumns>(sums, rows + i, row_stride, queries);
  }

  static void pack(const CodePanel& step) noexcept { pack_fours(step, kCodeZero); }
  // One query has 15 bits.
  static void pack_single(const CodePanel& step) noexcept { PairProduct::pack_single(step); }
};

}  // namespace
}  // namespace fastembed
