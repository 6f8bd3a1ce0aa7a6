// Rows of bfloat16 taken as words of two elements, as they lie: the even and the odd elements of 32 columns are a
// register each, with which products go on, and come back together when sums are added to the row. A row's last 16
// columns, where they are by themselves, are one register, the even and then the odd ones. For the tiles whose products
// are of pairs.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "kernels/row_format.inl.hpp"

namespace fastembed {
namespace {

template <class Rows>
constexpr bool kSplitsPairs = false;
template <>
constexpr bool kSplitsPairs<Bfloat16Rows> = true;
constexpr std::uint32_t kOddHalves = 0xaaaaaaaa;  // of words

// 32 elements of a row; unless `whole` 16, the others zeros.
[[gnu::always_inline]] inline __m512i load_words(const void* from, bool whole) noexcept {
  return _mm512_maskz_loadu_epi64(whole ? 0xff : 0x0f, from);
}

// Two registers of pairs.
struct PanelPair {
  Vec::Reg first, second;
};
// The elements of two rows at the same column, pair by pair: even columns and odd ones, or both in `first`.
[[gnu::always_inline]] inline PanelPair pair_words(__m512i row0, __m512i row1, bool whole) noexcept {
  __m512i even = _mm512_mask_blend_epi16(kOddHalves, row0, _mm512_slli_epi32(row1, 16));
  const __m512i odd = _mm512_mask_blend_epi16(kOddHalves, _mm512_srli_epi32(row0, 16), row1);
  if (!whole) even = _mm512_inserti64x4(even, _mm512_castsi512_si256(odd), 1);
  return {_mm512_castsi512_ps(even), _mm512_castsi512_ps(odd)};
}

// Adds 32 columns of sums, the even and the odd ones, to words of a row of bfloat16, each rounded by one half of a
// draw; unless `whole`, 16 of each 32.
[[gnu::always_inline]] inline void add_words(std::uint16_t* to, bool whole, Vec::Reg even, Vec::Reg odd,
                                             RoundingBits& random) noexcept {
  const __mmask8 used = whole ? 0xff : 0x0f;
  const __m512i words = _mm512_maskz_loadu_epi64(used, to), bits = random.next_both();
  const __m512i upper = _mm512_set1_epi32(-0x10000);
  even = Vec::add(_mm512_castsi512_ps(_mm512_slli_epi32(words, 16)), even);
  odd = Vec::add(_mm512_castsi512_ps(_mm512_and_si512(words, upper)), odd);
  const __m512i evens = _mm512_add_epi32(_mm512_castps_si512(even), Vec::low_half(bits));
  const __m512i odds = _mm512_add_epi32(_mm512_castps_si512(odd), Vec::high_half(bits));
  const __m512i rounded = _mm512_mask_blend_epi16(kOddHalves, _mm512_srli_epi32(evens, 16), odds);
  _mm512_mask_storeu_epi64(to, used, rounded);
}
[[gnu::always_inline]] inline void add_pairs(Bfloat16Rows, std::uint16_t* to, Vec::Reg even, Vec::Reg odd,
                                             RoundingBits& random) noexcept {
  add_words(to, true, even, odd, random);
}
[[gnu::always_inline]] inline void add_last_pairs(Bfloat16Rows, std::uint16_t* to, Vec::Reg sums,
                                                  RoundingBits& random) noexcept {
  add_words(to, false, sums, _mm512_shuffle_f32x4(sums, sums, 0x0e), random);
}

// Sums that are kept are kept in order.
[[gnu::always_inline]] inline void add_pairs(StoredSums, float* to, Vec::Reg even, Vec::Reg odd,
                                             RoundingBits&) noexcept {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  Vec::store(to, _mm512_permutex2var_ps(even, low, odd));
  Vec::store(to + Vec::kLanes, _mm512_permutex2var_ps(even, high, odd));
}
[[gnu::always_inline]] inline void add_last_pairs(StoredSums, float* to, Vec::Reg sums, RoundingBits&) noexcept {
  const __m512i order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  Vec::store(to, _mm512_permutexvar_ps(order, sums));
}

}  // namespace
}  // namespace fastembed
