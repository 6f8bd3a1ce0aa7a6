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
  static constexpr int kTileColumns = 6;
  static constexpr int kScanRows = 12;  // of a strip against two registers of a panel

  static Reg zero() noexcept { return _mm512_setzero_ps(); }
  static Reg broadcast(float value) noexcept { return _mm512_set1_ps(value); }
  static Reg load(const float* from) noexcept { return _mm512_loadu_ps(from); }
  static void store(float* to, Reg a) noexcept { _mm512_storeu_ps(to, a); }
  // Past the caches, to an address that is a multiple of a register's bytes. Other threads see it after end_stream.
  static void stream(float* to, Reg a) noexcept { _mm512_stream_ps(to, a); }
  static void end_stream() noexcept { _mm_sfence(); }
  static Reg add(Reg a, Reg b) noexcept { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) noexcept { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) noexcept { return _mm512_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) noexcept { return _mm512_div_ps(a, b); }
  static Reg sqrt(Reg a) noexcept { return _mm512_sqrt_ps(a); }
  static Reg fma(Reg a, Reg b, Reg c) noexcept { return _mm512_fmadd_ps(a, b, c); }
  static Reg fms(Reg a, Reg b, Reg c) noexcept { return _mm512_fmsub_ps(a, b, c); }
  // a / b within 2 ulps.
  static Reg quotient(Reg a, Reg b) noexcept {
    const Reg guess = _mm512_rcp14_ps(b);
    return mul(a, fma(guess, _mm512_fnmadd_ps(b, guess, broadcast(1.0F)), guess));
  }
  static Reg max(Reg a, Reg b) noexcept { return _mm512_max_ps(a, b); }
  static Reg min(Reg a, Reg b) noexcept { return _mm512_min_ps(a, b); }
  // What was loaded stays in a register: a compiler may load it again for each of its uses.
  [[gnu::always_inline]] static void keep(Reg& x) noexcept { __asm__("" : "+v"(x)); }
  // x with its lowest three bits those of `low`.
  static Reg with_low_bits(Reg x, Reg low) noexcept {
    const __m512i bits =
        _mm512_ternarylogic_epi32(_mm512_set1_epi32(7), _mm512_castps_si512(low), _mm512_castps_si512(x), 0xca);
    return _mm512_castsi512_ps(bits);
  }
  // Bit i is set where a[i] >= b[i].
  static std::uint32_t at_least(Reg a, Reg b) noexcept { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
  // Bits of two such masks, the first one's below.
  static std::uint32_t pair(std::uint32_t low, std::uint32_t high) noexcept {
    return _mm512_kunpackw(static_cast<__mmask32>(high), static_cast<__mmask32>(low));
  }
  // The first `count` elements, then zeros; reads no more than those.
  static Reg load_first(const float* from, std::size_t count) noexcept {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1U), from);
  }
  static Reg negative_abs(Reg a) noexcept { return _mm512_or_ps(a, _mm512_set1_ps(-0.0F)); }
  static Reg round(Reg a) noexcept { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Reg power_of_two(Reg n) noexcept { return _mm512_scalef_ps(_mm512_set1_ps(1.0F), n); }
  static Reg scale(Reg a, Reg n) noexcept { return _mm512_scalef_ps(a, n); }  // a * 2^n
  static Reg select_non_negative(Reg x, Reg a, Reg b) noexcept {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero(), _CMP_GE_OQ), b, a);
  }
  static Reg choose(std::uint32_t bits, Reg a, Reg b) noexcept {
    return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), b, a);
  }
  using Bits = __m512i;
  static constexpr int kGoldenHalves = static_cast<int>(0x9e379e37U);
  static Bits load_bits(const std::uint32_t* from) noexcept { return _mm512_loadu_si512(from); }
  static void store_bits(std::uint32_t* to, Bits bits) noexcept { _mm512_storeu_si512(to, bits); }
  static Bits next_random(Bits x) noexcept { return _mm512_add_epi32(x, _mm512_set1_epi32(kGoldenHalves)); }
  static Bits low_half(Bits x) noexcept { return _mm512_and_si512(x, _mm512_set1_epi32(0xffff)); }
  static Bits high_half(Bits x) noexcept { return _mm512_srli_epi32(x, 16); }

  // Of pairs of bfloat16, a pair in the place of a float: the first ones, and the second ones.
  static Reg first_bf16(Reg pairs) noexcept {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pairs), 16));
  }
  static Reg second_bf16(Reg pairs) noexcept {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pairs), _mm512_set1_epi32(-0x10000)));
  }
  static Reg load_bf16(const std::uint16_t* from) noexcept {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
  static void store_bf16(std::uint16_t* to, Reg a, Bits random) noexcept {
    const __m512i bits = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(a), random), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(bits));
  }
  static Reg load_f16(const std::uint16_t* from) noexcept {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static Reg load_i8(const std::int8_t* from) noexcept {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  // Adds a random part of a step and cuts off: a step is 13 bits, below 2^-14 it is 2^-24. At most 65504.
  static void store_f16(std::uint16_t* to, Reg a, Bits random) noexcept {
    const __m512i sign = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(INT32_MIN));
    const Reg magnitude = _mm512_min_ps(_mm512_abs_ps(a), broadcast(65504.0F));
    const __mmask16 small = _mm512_cmp_ps_mask(magnitude, broadcast(0x1p-14F), _CMP_LT_OQ);
    const Reg raised = fma(_mm512_cvtepi32_ps(random), broadcast(0x1p-40F), magnitude);
    const __m512i sum = _mm512_add_epi32(_mm512_castps_si512(magnitude), _mm512_srli_epi32(random, 3));
    const Reg moved = _mm512_mask_blend_ps(small, _mm512_castsi512_ps(sum), raised);
    const Reg result = _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(moved), sign));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_cvtps_ph(result, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
  }
  static float sum(Reg a) noexcept { return _mm512_reduce_add_ps(a); }
  static Reg exponent(Reg x, Reg& mantissa) noexcept {
    mantissa = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
    return _mm512_getexp_ps(x);
  }

  // Element j of register i becomes element i of register j.
  [[gnu::always_inline]] static void transpose(Reg (&r)[kLanes]) noexcept {
    Reg t[kLanes];
    for (int i = 0; i < kLanes; i += 4) {
      const Reg ab_low = _mm512_unpacklo_ps(r[i], r[i + 1]), ab_high = _mm512_unpackhi_ps(r[i], r[i + 1]);
      const Reg cd_low = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), cd_high = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
      t[i] = _mm512_shuffle_ps(ab_low, cd_low, _MM_SHUFFLE(1, 0, 1, 0));
      t[i + 1] = _mm512_shuffle_ps(ab_low, cd_low, _MM_SHUFFLE(3, 2, 3, 2));
      t[i + 2] = _mm512_shuffle_ps(ab_high, cd_high, _MM_SHUFFLE(1, 0, 1, 0));
      t[i + 3] = _mm512_shuffle_ps(ab_high, cd_high, _MM_SHUFFLE(3, 2, 3, 2));
    }
    for (int i = 0; i < 4; ++i) {
      const Reg low = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), high = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
      const Reg low2 = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
      const Reg high2 = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
      r[i] = _mm512_shuffle_f32x4(low, low2, 0x88);
      r[i + 4] = _mm512_shuffle_f32x4(high, high2, 0x88);
      r[i + 8] = _mm512_shuffle_f32x4(low, low2, 0xdd);
      r[i + 12] = _mm512_shuffle_f32x4(high, high2, 0xdd);
    }
  }

  // Four registers to one whose every 128-bit quarter holds partial sums of a, b, c, d in order.
  [[gnu::always_inline]] static Reg quarter_sums(Reg a, Reg b, Reg c, Reg d) noexcept {
    const Reg ab = add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const Reg cd = add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    return add(_mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)), _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));
  }

  // Sixteen registers to their sixteen lane sums.
  [[gnu::always_inline]] static Reg sums_of_16(const Reg* v) noexcept {
    const Reg s0 = quarter_sums(v[0], v[1], v[2], v[3]);
    const Reg s1 = quarter_sums(v[4], v[5], v[6], v[7]);
    const Reg s2 = quarter_sums(v[8], v[9], v[10], v[11]);
    const Reg s3 = quarter_sums(v[12], v[13], v[14], v[15]);
    const Reg s01 = add(_mm512_shuffle_f32x4(s0, s1, 0x44), _mm512_shuffle_f32x4(s0, s1, 0xee));
    const Reg s23 = add(_mm512_shuffle_f32x4(s2, s3, 0x44), _mm512_shuffle_f32x4(s2, s3, 0xee));
    return add(_mm512_shuffle_f32x4(s01, s23, 0x88), _mm512_shuffle_f32x4(s01, s23, 0xdd));
  }
  [[gnu::always_inline]] static Reg sums_of_8(const Reg* v) noexcept {
    const Reg s0 = quarter_sums(v[0], v[1], v[2], v[3]);
    const Reg s1 = quarter_sums(v[4], v[5], v[6], v[7]);
    const Reg s01 = add(_mm512_shuffle_f32x4(s0, s1, 0x44), _mm512_shuffle_f32x4(s0, s1, 0xee));
    return add(_mm512_shuffle_f32x4(s01, s01, 0x88), _mm512_shuffle_f32x4(s01, s01, 0xdd));
  }

  // Stores the lane sums of kCount registers, padded with any value to a multiple of kLanes floats.
  template <std::size_t kCount>
  [[gnu::always_inline]] static void store_sums(const Reg (&values)[kCount], float* to) noexcept {
    std::size_t i = 0;
    for (; i + 16 <= kCount; i += 16) store(to + i, sums_of_16(values + i));
    constexpr std::size_t kRest = kCount % 16;
    if constexpr (kRest != 0) {
      Reg rest[kRest <= 8 ? 8 : 16];
      for (std::size_t j = 0; j < sizeof(rest) / sizeof(Reg); ++j) rest[j] = j < kRest ? values[i + j] : values[i];
      if constexpr (kRest <= 8) {
        store(to + i, sums_of_8(rest));
      } else {
        store(to + i, sums_of_16(rest));
      }
    }
  }
};

// Sixteen sums of int32, and products of pairs of int16.
struct CodeLanes {
  using Reg = __m512i;
  static constexpr std::size_t kRows = 8;  // of a strip against two registers of a panel

  static Reg load(const std::int32_t* from) noexcept { return _mm512_loadu_si512(from); }
  static Reg load_pairs(const std::int16_t* from) noexcept { return _mm512_loadu_si512(from); }
  static Reg broadcast_pair(const std::int16_t* from) noexcept {
    std::int32_t pair;
    __builtin_memcpy(&pair, from, sizeof(pair));
    return _mm512_set1_epi32(pair);
  }
  static Reg load_bytes(const std::uint8_t* from) noexcept { return _mm512_loadu_si512(from); }
  static Reg broadcast_four(const std::uint8_t* from) noexcept {
    std::int32_t four;
    __builtin_memcpy(&four, from, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  // Bytes and, in the lower or upper halves of bytes, what follows them, less kZero: pairs of int16.
  template <bool kUpper, int kZero>
  static Reg refined_pairs(const std::uint8_t* codes, const std::uint8_t* residuals) noexcept {
    const auto bytes = [](const std::uint8_t* from) {
      return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    };
    const Reg both = bytes(residuals);
    const Reg half = kUpper ? _mm512_srli_epi16(both, 4) : _mm512_and_si512(both, _mm512_set1_epi16(15));
    return _mm512_add_epi16(_mm512_slli_epi16(bytes(codes), 4), _mm512_sub_epi16(half, _mm512_set1_epi16(kZero)));
  }
  static Reg zero() noexcept { return _mm512_setzero_si512(); }
  // Of every byte.
  static Reg lower_halves(Reg bytes) noexcept { return _mm512_and_si512(bytes, _mm512_set1_epi8(15)); }
  static Reg upper_halves(Reg bytes) noexcept { return lower_halves(_mm512_srli_epi16(bytes, 4)); }
  // Unsigned bytes by signed ones, whose products are added by twos in int16, where they have to fit, then by fours.
  static Reg byte_pairs(Reg a, Reg b) noexcept { return _mm512_maddubs_epi16(a, b); }
  static Reg add_pairs(Reg a, Reg b) noexcept { return _mm512_add_epi16(a, b); }
  static Reg add_widened(Reg sum, Reg pairs) noexcept {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  static Reg add_byte_pairs(Reg sum, Reg a, Reg b) noexcept { return add_widened(sum, byte_pairs(a, b)); }
  static Reg of_digits(Reg high, Reg low) noexcept { return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low); }
  // The sums of the lanes of eight registers, modulo 2^32.
  static void store_sums(const Reg (&rows)[8], std::int32_t* to) noexcept {
    Reg pairs[4], fours[2];  // of rows: sums of 2 lanes, then of 4, of rows that alternate
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Reg a = rows[2 * i], b = rows[2 * i + 1];
      pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const Reg a = pairs[2 * i], b = pairs[2 * i + 1];
      fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    // Quarters: of rows 0 .. 3 the first two, of rows 4 .. 7 the others.
    const Reg eights = _mm512_add_epi32(_mm512_shuffle_i32x4(fours[0], fours[1], 0x88),
                                        _mm512_shuffle_i32x4(fours[0], fours[1], 0xdd));
    const Reg all = _mm512_add_epi32(eights, _mm512_shuffle_i32x4(eights, eights, 0xb1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(_mm512_shuffle_i32x4(all, all, 0x08)));
  }
  static Reg add_products(Reg sum, Reg a, Reg b) noexcept { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
  static Reg add(Reg a, Reg b) noexcept { return _mm512_add_epi32(a, b); }
  static Reg sub(Reg a, Reg b) noexcept { return _mm512_sub_epi32(a, b); }
  static Reg max(Reg a, Reg b) noexcept { return _mm512_max_epi32(a, b); }
  static std::uint32_t at_least(Reg a, Reg b) noexcept { return _mm512_cmpge_epi32_mask(a, b); }
  static void store(std::int32_t* to, Reg a) noexcept { _mm512_storeu_si512(to, a); }
  static Vec::Reg to_float(Reg a) noexcept { return _mm512_cvtepi32_ps(a); }
  // floor(x) brought to -limit .. limit, NaN to limit.
  static Reg floor_within(Vec::Reg x, float limit) noexcept {
    const Vec::Reg most = Vec::broadcast(limit);
    const Vec::Reg within = _mm512_max_ps(_mm512_min_ps(x, most), Vec::broadcast(-limit));
    return _mm512_cvt_roundps_epi32(within, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
};

// Sixteen float64 partial sums over blocks of 16 floats.
struct Sums16 {
  __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();

  static __m512d widen(const float* from) noexcept { return _mm512_cvtps_pd(_mm256_loadu_ps(from)); }
  void add_products(const float* a, const float* b) noexcept {
    low = _mm512_fmadd_pd(widen(a), widen(b), low);
    high = _mm512_fmadd_pd(widen(a + 8), widen(b + 8), high);
  }
  void add_squared_differences(const float* a, const float* b) noexcept {
    const __m512d low_difference = _mm512_sub_pd(widen(a), widen(b));
    const __m512d high_difference = _mm512_sub_pd(widen(a + 8), widen(b + 8));
    low = _mm512_add_pd(low, _mm512_mul_pd(low_difference, low_difference));
    high = _mm512_add_pd(high, _mm512_mul_pd(high_difference, high_difference));
  }
  // Lanes 8 apart are added, then 4, 2 and 1 apart.
  [[nodiscard]] double total() const noexcept {
    const __m512d eight = _mm512_add_pd(low, high);
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
};

// 64 bytes of text. A mask has bit i set where byte i satisfies the condition.
struct ByteBlock {
  __m512i bytes;

  [[nodiscard]] std::uint64_t equal(std::uint8_t value) const noexcept {
    return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(static_cast<char>(value)));
  }
  [[nodiscard]] std::uint64_t between(std::uint8_t low, std::uint8_t high) const noexcept {
    return _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, _mm512_set1_epi8(static_cast<char>(low))),
                                  _mm512_set1_epi8(static_cast<char>(high - low)));
  }
};

inline ByteBlock load_bytes(const std::uint8_t* from) noexcept { return {_mm512_loadu_si512(from)}; }

}  // namespace
