// Products of codes with queries of int8 by the dot product of four bytes (AVX-512 VNNI): codes are its unsigned side,
// so that their zero is taken off again, once a query: sum (c + 128) q = sum c q + 128 sum q.
#pragma once

#include "kernels/four_bytes.inl.hpp"

namespace fastembed {
namespace {

// The sums of the lanes of eight registers, modulo 2^32.
[[gnu::always_inline]] inline __m256i sums_of_8(const __m512i (&rows)[8]) noexcept {
  __m512i pairs[4], fours[2];  // of rows: sums of 2 lanes, then of 4, of rows that alternate
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i a = rows[2 * i], b = rows[2 * i + 1];
    pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m512i a = pairs[2 * i], b = pairs[2 * i + 1];
    fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  }
  // Quarters: of rows 0 .. 3 the first two, of rows 4 .. 7 the others.
  const __m512i eights =
      _mm512_add_epi32(_mm512_shuffle_i32x4(fours[0], fours[1], 0x88), _mm512_shuffle_i32x4(fours[0], fours[1], 0xdd));
  const __m512i all = _mm512_add_epi32(eights, _mm512_shuffle_i32x4(eights, eights, 0xb1));
  return _mm512_castsi512_si256(_mm512_shuffle_i32x4(all, all, 0x08));
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
      sums[r] = _mm512_add_epi32(_mm512_slli_epi32(highs, 8), lows);
    }
    const __m256i all = _mm256_add_epi32(sums_of_8(sums), _mm256_set1_epi32(correction));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(products), all);
  }
};

}  // namespace
}  // namespace fastembed
