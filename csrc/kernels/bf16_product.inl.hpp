// Products of bfloat16 pairs with float32 sums (VDPBF16PS), for kernels/tile_product.inl.hpp. An element is a pair:
// the lower half comes first. Operands are rounded to nearest even; denormals count as zero.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "kernels/tile_product.inl.hpp"
#include "kernels/word_rows.inl.hpp"

namespace fastembed {
namespace {

struct Bf16Product {
  using Operand = __m512bh;
  static constexpr std::size_t kFactors = 2;

  static Operand load(const float* from) noexcept { return reinterpret_cast<__m512bh>(_mm512_loadu_ps(from)); }
  static Operand broadcast(const float* from) noexcept { return reinterpret_cast<__m512bh>(_mm512_set1_ps(*from)); }
  static __m512 multiply_add(Operand a, Operand b, __m512 sum) noexcept { return _mm512_dpbf16_ps(sum, a, b); }

  // 32 values, `low` first.
  static __m512i round_both(__m512 low, __m512 high) noexcept {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  }

  // Two rows: pairs of neighbours within each row to by_depth, pairs of the two rows' values to by_row.
  template <class Rows>
  static void pack_rows(const void* row0, const void* row1, std::size_t depth, std::size_t depth_pitch, float* by_depth,
                        float* by_row) noexcept {
    const auto* const from0 = static_cast<const typename Rows::Element*>(row0);
    const auto* const from1 = static_cast<const typename Rows::Element*>(row1);
    for (std::size_t i = 0; i < depth; i += 16) {
      const __m512i both = round_both(Rows::load(from0 + i), Rows::load(from1 + i));
      store_half(by_depth + i / 2, _mm512_castsi512_si256(both));
      store_half(by_depth + depth_pitch + i / 2, _mm512_extracti64x4_epi64(both, 1));
      _mm512_storeu_si512(by_row + i, interleave_halves(both));
    }
  }

  template <class Rows>
  static constexpr bool kInWords = kSplitsPairs<Rows>;

  static __m512 load_inputs(const void* row, std::size_t column, std::size_t depth) noexcept {
    const auto* const from = static_cast<const std::uint16_t*>(row) + column;
    return _mm512_castsi512_ps(load_words(from, column + 2 * Vec::kLanes <= depth));
  }
  static void pack_words(const void* row0, const void* row1, std::size_t depth, float* by_row) noexcept {
    const auto* const from0 = static_cast<const std::uint16_t*>(row0);
    const auto* const from1 = static_cast<const std::uint16_t*>(row1);
    const auto pack = [=](std::size_t i, bool whole) __attribute__((always_inline)) {
      const PanelPair pair = pair_words(load_words(from0 + i, whole), load_words(from1 + i, whole), whole);
      Vec::store(by_row + i, pair.first);
      if (whole) Vec::store(by_row + i + Vec::kLanes, pair.second);
    };
    std::size_t i = 0;
    for (; i + 2 * Vec::kLanes <= depth; i += 2 * Vec::kLanes) pack(i, true);
    if (i < depth) pack(i, false);
  }
  // Adds kColumns registers of sums in the order of pack_words to a row.
  template <class To, std::size_t kColumns>
  [[gnu::always_inline]] static void add_in_words(typename To::Element* to, const __m512* sums,
                                                  RoundingBits& random) noexcept {
    for (std::size_t c = 0; c + 1 < kColumns; c += 2)
      add_pairs(To{}, to + c * Vec::kLanes, sums[c], sums[c + 1], random);
    if constexpr (kColumns % 2 != 0) {
      add_last_pairs(To{}, to + (kColumns - 1) * Vec::kLanes, sums[kColumns - 1], random);
    }
  }

  static void store_gradients(const __m512 (&gradients)[kBlockRows], std::size_t pitch, float* by_input,
                              float* by_row) noexcept {
    for (std::size_t r = 0; r < kBlockRows; r += 2) {
      const __m512i both = round_both(gradients[r], gradients[r + 1]);
      store_half(by_input + r * pitch / 2, _mm512_castsi512_si256(both));
      store_half(by_input + (r + 1) * pitch / 2, _mm512_extracti64x4_epi64(both, 1));
      _mm512_storeu_si512(by_row + r / 2 * pitch, interleave_halves(both));
    }
  }

  // Gradients of 4 x 4 pairs row by row: pairs of neighbours in each row, and then in each column.
  static void store_block(__m512 gradients, float* to) noexcept {
    const __m512 columns =
        _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), gradients);
    _mm512_storeu_si512(to, round_both(gradients, columns));
  }

  static void store_half(float* to, __m256i values) noexcept {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), values);
  }

  // a0 .. a15 b0 .. b15 to a0 b0 a1 b1 ...
  static __m512i interleave_halves(__m512i both) noexcept {
    alignas(64) static constexpr short kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), both);
  }
};

}  // namespace
}  // namespace fastembed
