// Products of codes with queries of int8 by the dot product of four bytes (AArch64, FEAT_DotProd): both sides are
// signed, so that codes only have their top bit turned.
#pragma once

#include "kernels/scan_codes.inl.hpp"
#include "kernels/tile_product.inl.hpp"

namespace fastembed {
namespace {

// Sixteen codes; what lies behind the last is read too.
[[gnu::always_inline]] inline int8x16_t load_codes(const std::uint8_t* from) noexcept {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from), vdupq_n_u8(kCodeZero)));
}

struct SignedByteProduct {
  using Lanes = CodeLanes;
  static constexpr std::int32_t kQueryLimit = 127;
  static constexpr std::size_t kRows = 8;
  static constexpr std::size_t kPrefetchDepth = 16;
  static constexpr std::size_t kProducts = 4;  // summed in a lane at once
  using Reg = int32x4_t;

  static Reg add_products(Reg sum, Reg a, Reg b) noexcept {
    return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
  }
  static void pack(const CodePanel& step) noexcept { pack_fours(step, 0); }
  static void pack_single(const CodePanel& step) noexcept { pack_digits(step, 0); }

  // Fours of the depth, which are the lanes of `codes` from the first on.
  template <std::size_t kStrip, std::size_t kColumns, int kFours>
  [[gnu::always_inline]] static void step(Reg (&sums)[kStrip * kColumns], const int8x16_t (&codes)[kStrip],
                                          const std::int8_t* queries, std::size_t width) noexcept {
    const auto add = [&](auto lane) __attribute__((always_inline)) {
      constexpr int kLane = decltype(lane)::value;
      for (std::size_t c = 0; c < kColumns; ++c) {
        const int8x16_t column = vld1q_s8(queries + kLane * 4 * width + c * 16);
        for (std::size_t r = 0; r < kStrip; ++r) {
          sums[r * kColumns + c] = vdotq_laneq_s32(sums[r * kColumns + c], column, codes[r], kLane);
        }
      }
    };
    add(Count<0>{});
    if constexpr (kFours > 1) add(Count<1>{});
    if constexpr (kFours > 2) add(Count<2>{});
    if constexpr (kFours > 3) add(Count<3>{});
  }

  template <std::size_t kStrip, std::size_t kColumns>
  [[gnu::always_inline]] static void multiply(Reg (&sums)[kStrip * kColumns], const std::uint8_t* rows,
                                              std::size_t row_stride, const void* panel, std::size_t first_query,
                                              std::size_t width, std::size_t depth, PiecePrefetch& prefetch) noexcept {
    const auto* queries = static_cast<const std::int8_t*>(panel) + 4 * first_query;
    int8x16_t codes[kStrip];
    for (std::size_t i = 0; i < depth; i += 16, queries += 16 * width) {
      prefetch.turn();
      for (std::size_t r = 0; r < kStrip; ++r) codes[r] = load_codes(rows + r * row_stride + i);
      switch (depth - i < 16 ? (depth - i) / 4 : 4) {
        case 1: step<kStrip, kColumns, 1>(sums, codes, queries, width); break;
        case 2: step<kStrip, kColumns, 2>(sums, codes, queries, width); break;
        case 3: step<kStrip, kColumns, 3>(sums, codes, queries, width); break;
        default: step<kStrip, kColumns, 4>(sums, codes, queries, width);
      }
    }
  }

  static void scan_rows(const std::uint8_t* rows, std::size_t row_stride, std::size_t count, std::size_t depth,
                        const void* panel, std::int32_t, std::int32_t* products) noexcept {
    const auto* const high = static_cast<const std::int8_t*>(panel);
    const std::size_t padded = padded_digits(depth);
    for (std::size_t r = 0; r < count; ++r) {
      Reg highs = vdupq_n_s32(0), lows = highs;
      for (std::size_t i = 0; i < depth; i += 16) {
        const int8x16_t codes = load_codes(rows + r * row_stride + i);
        highs = vdotq_s32(highs, codes, vld1q_s8(high + i));
        lows = vdotq_s32(lows, codes, vld1q_s8(high + padded + i));
      }
      products[r] = vaddvq_s32(vaddq_s32(vshlq_n_s32(highs, 8), lows));
    }
  }
};

}  // namespace
}  // namespace fastembed
