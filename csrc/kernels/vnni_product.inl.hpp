// Products of codes with queries of int8 by the dot product of four bytes (AVX-512 VNNI): codes are its unsigned side,
// so that their zero is taken off again, once a query: sum (c + 128) q = sum c q + 128 sum q.
#pragma once

#include "kernels/four_bytes.inl.hpp"

namespace fastembed {
namespace {

struct ByteProduct : FourBytes<ByteProduct> {
  using Lanes = CodeLanes;
  static constexpr std::int32_t kQueryLimit = 127;
  static constexpr std::size_t kElements = 4;  // of four bytes
  static constexpr std::size_t kProducts = 4;  // summed in a lane at once
  using Reg = __m512i;

  static Reg add_products(Reg sum, Reg a, Reg b) noexcept { return _mm512_dpbusd_epi32(sum, a, b); }

  static void pack(const CodePanel& step) noexcept { pack_fours(step, kCodeZero); }
  static void pack_single(const CodePanel& step) noexcept { pack_digits(step, kCodeZero); }

  // Row after row: from memory the processor's prefetchers know a single stream best.
  static void scan_rows(const std::uint8_t* rows, std::size_t row_stride, std::size_t count, std::size_t depth,
                        const void* panel, std::int32_t correction, std::int32_t* products) noexcept {
    std::size_t r = 0;
    for (; r + 8 <= count; r += 8)
      scan_eight(rows + r * row_stride, row_stride, depth, panel, correction, products + r);
    for (; r < count; ++r) {  // one, all over
      std::int32_t rest[8];
      scan_eight(rows + r * row_stride, 0, depth, panel, correction, rest);
      products[r] = rest[0];
    }
  }

 private:
  [[gnu::always_inline]] static void scan_eight(const std::uint8_t* rows, std::size_t row_stride, std::size_t depth,
                                                const void* panel, std::int32_t correction,
                                                std::int32_t* products) noexcept {
    const auto* const high = static_cast<const std::int8_t*>(panel);
    const std::size_t padded = padded_digits(depth);
    Reg sums[8];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < 8; ++r) {
      const std::uint8_t* const row = rows + r * row_stride;
      Reg highs = _mm512_setzero_si512(), lows = highs;
      for (std::size_t i = 0; i < padded; i += 64) {
        read_ahead(row + i);
        const Reg codes = _mm512_loadu_si512(row + i);
        highs = _mm512_dpbusd_epi32(highs, codes, _mm512_loadu_si512(high + i));
        lows = _mm512_dpbusd_epi32(lows, codes, _mm512_loadu_si512(high + padded + i));
      }
      sums[r] = CodeLanes::of_digits(highs, lows);
    }
    std::int32_t totals[8];
    CodeLanes::store_sums(sums, totals);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < 8; ++r) {
      products[r] =
          static_cast<std::int32_t>(static_cast<std::uint32_t>(totals[r]) + static_cast<std::uint32_t>(correction));
    }
  }
};

}  // namespace
}  // namespace fastembed
