// The AVX-512 (F, BW, DQ, VL) Vec: 16 floats, 32 registers.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

struct Vec {
  using Reg = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kContextBlock = 4;

  static Reg zero() noexcept { return _mm512_setzero_ps(); }
  static Reg broadcast(float value) noexcept { return _mm512_set1_ps(value); }
  static Reg load(const float* from) noexcept { return _mm512_loadu_ps(from); }
  static void store(float* to, Reg a) noexcept { _mm512_storeu_ps(to, a); }
  static Reg add(Reg a, Reg b) noexcept { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) noexcept { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) noexcept { return _mm512_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) noexcept { return _mm512_div_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) noexcept { return _mm512_fmadd_ps(a, b, c); }
  static Reg max(Reg a, Reg b) noexcept { return _mm512_max_ps(a, b); }
  static Reg negative_abs(Reg a) noexcept { return _mm512_or_ps(a, _mm512_set1_ps(-0.0F)); }
  static Reg round(Reg a) noexcept {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static Reg power_of_two(Reg n) noexcept { return _mm512_scalef_ps(_mm512_set1_ps(1.0F), n); }
  static Reg select_non_negative(Reg x, Reg a, Reg b) noexcept {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero(), _CMP_GE_OQ), b, a);
  }
  static float sum(Reg a) noexcept { return _mm512_reduce_add_ps(a); }

  // Four registers to one whose every 128-bit quarter holds partial sums of a, b, c, d in order.
  static Reg quarter_sums(Reg a, Reg b, Reg c, Reg d) noexcept {
    const Reg ab = add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const Reg cd = add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    return add(_mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)), _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));
  }
  static __m128 fold_quarters(Reg a) noexcept {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  }

  template <int kCount>
  static void store_sums(const Reg (&values)[kCount], float* to) noexcept {
    int i = 0;
    for (; i + 16 <= kCount; i += 16) {
      const Reg s0 = quarter_sums(values[i], values[i + 1], values[i + 2], values[i + 3]);
      const Reg s1 = quarter_sums(values[i + 4], values[i + 5], values[i + 6], values[i + 7]);
      const Reg s2 = quarter_sums(values[i + 8], values[i + 9], values[i + 10], values[i + 11]);
      const Reg s3 = quarter_sums(values[i + 12], values[i + 13], values[i + 14], values[i + 15]);
      const Reg s01 = add(_mm512_shuffle_f32x4(s0, s1, 0x44), _mm512_shuffle_f32x4(s0, s1, 0xee));
      const Reg s23 = add(_mm512_shuffle_f32x4(s2, s3, 0x44), _mm512_shuffle_f32x4(s2, s3, 0xee));
      store(to + i, add(_mm512_shuffle_f32x4(s01, s23, 0x88), _mm512_shuffle_f32x4(s01, s23, 0xdd)));
    }
    for (; i + 8 <= kCount; i += 8) {
      const Reg s0 = quarter_sums(values[i], values[i + 1], values[i + 2], values[i + 3]);
      const Reg s1 = quarter_sums(values[i + 4], values[i + 5], values[i + 6], values[i + 7]);
      const Reg s01 = add(_mm512_shuffle_f32x4(s0, s1, 0x44), _mm512_shuffle_f32x4(s0, s1, 0xee));
      const Reg folded = add(_mm512_shuffle_f32x4(s01, s01, 0x88), _mm512_shuffle_f32x4(s01, s01, 0xdd));
      _mm256_storeu_ps(to + i, _mm512_castps512_ps256(folded));
    }
    for (; i + 4 <= kCount; i += 4) {
      _mm_storeu_ps(to + i, fold_quarters(quarter_sums(values[i], values[i + 1], values[i + 2], values[i + 3])));
    }
    if constexpr (kCount % 4 != 0) {
      Reg last[4] = {zero(), zero(), zero(), zero()};
      for (int j = 0; j < kCount % 4; ++j) last[j] = values[i + j];
      const __m128 sums = fold_quarters(quarter_sums(last[0], last[1], last[2], last[3]));
      _mm_mask_storeu_ps(to + i, static_cast<__mmask8>((1U << (kCount % 4)) - 1U), sums);
    }
  }
};

// 64 bytes of text. A mask has bit i set where byte i satisfies the condition.
struct ByteBlock {
  __m512i bytes;

  static ByteBlock load(const std::uint8_t* from) noexcept { return {_mm512_loadu_si512(from)}; }
  [[nodiscard]] std::uint64_t equal(std::uint8_t value) const noexcept {
    return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(static_cast<char>(value)));
  }
  [[nodiscard]] std::uint64_t between(std::uint8_t low, std::uint8_t high) const noexcept {
    return _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, _mm512_set1_epi8(static_cast<char>(low))),
                                  _mm512_set1_epi8(static_cast<char>(high - low)));
  }
};

}  // namespace
