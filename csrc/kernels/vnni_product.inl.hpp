// Products of codes with queries of int8 by the dot product of four bytes (AVX-512 VNNI): codes are its unsigned side,
// so that their zero is taken off again, once a query: sum (c + 128) q = sum c q + 128 sum q.
#pragma once

#include "kernels/four_bytes.inl.hpp"

namespace fastembed {
namespace {

// The sum of the lanes modulo 2^32; that of the compiler's header ends with a signed sum.
[[gnu::always_inline]] inline std::uint32_t sum_modulo(__m512i lanes) noexcept {
  const __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64(lanes, 1));
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(four));
}

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
    const auto* const high = static_cast<const std::int8_t*>(panel);
    const std::size_t padded = padded_digits(depth);
    for (std::size_t r = 0; r < count; ++r) {
      const std::uint8_t* const row = rows + r * row_stride;
      Reg highs = _mm512_setzero_si512(), lows = highs;
      for (std::size_t i = 0; i < padded; i += 64) {
        const Reg codes = _mm512_loadu_si512(row + i);
        highs = _mm512_dpbusd_epi32(highs, codes, _mm512_loadu_si512(high + i));
        lows = _mm512_dpbusd_epi32(lows, codes, _mm512_loadu_si512(high + padded + i));
      }
      const Reg both = _mm512_add_epi32(_mm512_slli_epi32(highs, 8), lows);
      products[r] = static_cast<std::int32_t>(sum_modulo(both) + static_cast<std::uint32_t>(correction));
    }
  }
};

}  // namespace
}  // namespace fastembed
