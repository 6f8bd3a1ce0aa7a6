// token_draws.inl.hpp with AVX-512: 16 tokens and 8 draws of negatives at once.
#pragma once

#include <immintrin.h>

#include "kernels/token_draws.inl.hpp"

namespace fastembed {
namespace {

// Draws first .. first + 7.
[[gnu::always_inline]] inline __m512i random_draws(std::uint64_t key, std::uint64_t first) noexcept {
  const __m512i steps = _mm512_mullo_epi64(_mm512_setr_epi64(1, 2, 3, 4, 5, 6, 7, 8), _mm512_set1_epi64(kDrawStep));
  __m512i z = _mm512_add_epi64(_mm512_set1_epi64(static_cast<long long>(key + kDrawStep * first)), steps);
  z = _mm512_mullo_epi64(_mm512_xor_epi64(z, _mm512_srli_epi64(z, 30)), _mm512_set1_epi64(kDrawFirst));
  z = _mm512_mullo_epi64(_mm512_xor_epi64(z, _mm512_srli_epi64(z, 27)), _mm512_set1_epi64(kDrawSecond));
  return _mm512_xor_epi64(z, _mm512_srli_epi64(z, 31));
}

[[gnu::always_inline]] inline void store_chosen(std::int32_t* to, __mmask16 chosen, __m512i values) noexcept {
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(chosen, values));
}

std::size_t draw_wide_tokens(const TokenDraws& step) noexcept {
  constexpr std::size_t kRun = 16;
  const __m512i upper = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  const __m512i count_up = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i span = _mm512_set1_epi64(step.span), least = _mm512_set1_epi32(static_cast<int>(step.least));
  std::size_t kept = 0;
  for (std::size_t i = 0; i < step.count; i += kRun) {
    const std::size_t rest = step.count - i;
    const auto used = static_cast<__mmask16>(rest >= kRun ? 0xffff : (1U << rest) - 1);
    for (std::size_t ahead = i + kTokensAhead; ahead < i + kTokensAhead + kRun && ahead < step.readable; ++ahead) {
      __builtin_prefetch(step.thresholds + step.ids[ahead]);
    }
    const __m512i words = _mm512_maskz_loadu_epi32(used, step.ids + i);
    const __m512i low = random_draws(step.key, step.first + i), high = random_draws(step.key, step.first + i + 8);
    const __m512i reaches = _mm512_add_epi32(
        least, _mm512_permutex2var_epi32(_mm512_mul_epu32(low, span), upper, _mm512_mul_epu32(high, span)));
    const __m512i limits = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), used, words, step.thresholds, 4);
    const __m512i draws = _mm512_permutex2var_epi32(low, upper, high);
    const __mmask16 chosen = _mm512_mask_cmple_epu32_mask(used, draws, limits);
    store_chosen(step.words + kept, chosen, words);
    store_chosen(step.reaches + kept, chosen, reaches);
    store_chosen(step.offsets + kept, chosen,
                 _mm512_add_epi32(count_up, _mm512_set1_epi32(step.offset + static_cast<std::int32_t>(i))));
    kept += static_cast<std::size_t>(__builtin_popcount(chosen));
  }
  return kept;
}

[[gnu::always_inline]] inline __m512i alias_columns(const AliasDraws& step, __m512i random) noexcept {
  const __m512i count = _mm512_set1_epi64(static_cast<long long>(step.column_count));
  return _mm512_srli_epi64(_mm512_mul_epu32(_mm512_srli_epi64(random, 32), count), 32);
}

void draw_wide_aliases(const AliasDraws& step) noexcept {
  constexpr std::size_t kRun = 8;
  const __m512i lower = _mm512_set1_epi64(0xffffffff);
  for (std::size_t k = 0; k < step.count; k += kRun) {
    const std::size_t rest = step.count - k;
    const auto used = static_cast<__mmask8>(rest >= kRun ? 0xff : (1U << rest) - 1);
    const __m512i random = random_draws(step.key, step.first + k), columns = alias_columns(step, random);
    const __m512i chosen = _mm512_mask_i64gather_epi64(_mm512_setzero_si512(), used, columns, step.columns, 8);
    const __mmask8 keeps = _mm512_cmple_epu64_mask(_mm512_and_si512(random, lower), _mm512_and_si512(chosen, lower));
    const __m512i words = _mm512_mask_blend_epi64(keeps, _mm512_srli_epi64(chosen, 32), columns);
    _mm512_mask_cvtepi64_storeu_epi32(step.words + k, used, words);
  }
  for (std::size_t k = 0; k < step.fetched; k += kRun) {
    alignas(64) std::uint64_t columns[kRun];
    _mm512_store_si512(columns, alias_columns(step, random_draws(step.key, step.fetched_first + k)));
    for (const std::uint64_t column : columns) __builtin_prefetch(step.columns + column);
  }
}

}  // namespace
}  // namespace fastembed
