// The AVX2 + FMA Vec: 8 floats, 16 registers.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

struct Vec {
  using Reg = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kContextBlock = 2;
  static constexpr int kTileColumns = 2;
  static constexpr int kScanRows = 6;

  static Reg zero() noexcept { return _mm256_setzero_ps(); }
  static Reg broadcast(float value) noexcept { return _mm256_set1_ps(value); }
  static Reg load(const float* from) noexcept { return _mm256_loadu_ps(from); }
  static void store(float* to, Reg a) noexcept { _mm256_storeu_ps(to, a); }
  static void stream(float* to, Reg a) noexcept { _mm256_stream_ps(to, a); }
  static void end_stream() noexcept { _mm_sfence(); }
  static Reg add(Reg a, Reg b) noexcept { return _mm256_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) noexcept { return _mm256_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) noexcept { return _mm256_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) noexcept { return _mm256_div_ps(a, b); }
  static Reg sqrt(Reg a) noexcept { return _mm256_sqrt_ps(a); }
  static Reg fma(Reg a, Reg b, Reg c) noexcept { return _mm256_fmadd_ps(a, b, c); }
  static Reg fms(Reg a, Reg b, Reg c) noexcept { return _mm256_fmsub_ps(a, b, c); }
  static Reg quotient(Reg a, Reg b) noexcept { return div(a, b); }
  static Reg max(Reg a, Reg b) noexcept { return _mm256_max_ps(a, b); }
  static Reg min(Reg a, Reg b) noexcept { return _mm256_min_ps(a, b); }
  // What was loaded stays in a register: a compiler may load it again for each of its uses.
  [[gnu::always_inline]] static void keep(Reg& x) noexcept { __asm__("" : "+x"(x)); }
  // x with its lowest three bits those of `low`.
  static Reg with_low_bits(Reg x, Reg low) noexcept {
    const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(7));
    return _mm256_or_ps(_mm256_andnot_ps(mask, x), _mm256_and_ps(mask, low));
  }
  static std::uint32_t at_least(Reg a, Reg b) noexcept {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
  }
  // Bits of two such masks, the first one's below.
  static std::uint32_t pair(std::uint32_t low, std::uint32_t high) noexcept { return low | high << kLanes; }
  static Reg load_first(const float* from, std::size_t count) noexcept {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane));
  }
  static Reg negative_abs(Reg a) noexcept { return _mm256_or_ps(a, _mm256_set1_ps(-0.0F)); }
  static Reg round(Reg a) noexcept { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Reg power_of_two(Reg n) noexcept {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }
  static Reg scale(Reg a, Reg n) noexcept { return mul(a, power_of_two(n)); }
  static Reg select_non_negative(Reg x, Reg a, Reg b) noexcept {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, zero(), _CMP_GE_OQ));
  }
  static Reg choose(std::uint32_t bits, Reg a, Reg b) noexcept {
    const __m256i lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i chosen = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane_bits);
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(chosen, lane_bits)));
  }
  using Bits = __m256i;
  static constexpr int kGoldenHalves = static_cast<int>(0x9e379e37U);
  static Bits load_bits(const std::uint32_t* from) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static void store_bits(std::uint32_t* to, Bits bits) noexcept {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
  }
  static Bits next_random(Bits x) noexcept { return _mm256_add_epi32(x, _mm256_set1_epi32(kGoldenHalves)); }
  static Bits low_half(Bits x) noexcept { return _mm256_and_si256(x, _mm256_set1_epi32(0xffff)); }
  static Bits high_half(Bits x) noexcept { return _mm256_srli_epi32(x, 16); }

  static Reg first_bf16(Reg pairs) noexcept {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pairs), 16));
  }
  static Reg second_bf16(Reg pairs) noexcept {
    return _mm256_and_ps(pairs, _mm256_castsi256_ps(_mm256_set1_epi32(-0x10000)));
  }
  static Reg load_bf16(const std::uint16_t* from) noexcept {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
  static void store_bf16(std::uint16_t* to, Reg a, Bits random) noexcept {
    const __m256i bits = _mm256_srli_epi32(_mm256_add_epi32(_mm256_castps_si256(a), random), 16);
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
  }
  static Reg load_f16(const std::uint16_t* from) noexcept {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Reg load_i8(const std::int8_t* from) noexcept {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
  // Adds a random part of a step and cuts off: a step is 13 bits, below 2^-14 it is 2^-24. At most 65504.
  static void store_f16(std::uint16_t* to, Reg a, Bits random) noexcept {
    const Reg sign = _mm256_and_ps(a, _mm256_set1_ps(-0.0F));
    const Reg magnitude = _mm256_min_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0F), a), broadcast(65504.0F));
    const Reg small = _mm256_cmp_ps(magnitude, broadcast(0x1p-14F), _CMP_LT_OQ);
    const Reg raised = fma(_mm256_cvtepi32_ps(random), broadcast(0x1p-40F), magnitude);
    const __m256i sum = _mm256_add_epi32(_mm256_castps_si256(magnitude), _mm256_srli_epi32(random, 3));
    const Reg moved = _mm256_blendv_ps(_mm256_castsi256_ps(sum), raised, small);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm256_cvtps_ph(_mm256_or_ps(moved, sign), _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
  }
  static float sum(Reg a) noexcept {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }

  static Reg exponent(Reg x, Reg& mantissa) noexcept {
    const __m256i bits = _mm256_castps_si256(x);
    mantissa = _mm256_or_ps(_mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x007fffff))), _mm256_set1_ps(1.0F));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(127)));
  }

  // Element j of register i becomes element i of register j.
  [[gnu::always_inline]] static void transpose(Reg (&r)[kLanes]) noexcept {
    Reg t[kLanes];
    for (int i = 0; i < kLanes; i += 4) {
      const Reg ab_low = _mm256_unpacklo_ps(r[i], r[i + 1]), ab_high = _mm256_unpackhi_ps(r[i], r[i + 1]);
      const Reg cd_low = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), cd_high = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
      t[i] = _mm256_shuffle_ps(ab_low, cd_low, _MM_SHUFFLE(1, 0, 1, 0));
      t[i + 1] = _mm256_shuffle_ps(ab_low, cd_low, _MM_SHUFFLE(3, 2, 3, 2));
      t[i + 2] = _mm256_shuffle_ps(ab_high, cd_high, _MM_SHUFFLE(1, 0, 1, 0));
      t[i + 3] = _mm256_shuffle_ps(ab_high, cd_high, _MM_SHUFFLE(3, 2, 3, 2));
    }
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
      r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
  }

  // Four registers to their four lane sums.
  [[gnu::always_inline]] static __m128 sums_of_4(Reg a, Reg b, Reg c, Reg d) noexcept {
    const Reg lanes = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
  }

  // Stores the lane sums of kCount registers, padded with any value to a multiple of kLanes floats.
  template <std::size_t kCount>
  [[gnu::always_inline]] static void store_sums(const Reg (&values)[kCount], float* to) noexcept {
    for (std::size_t i = 0; i < kCount; i += 8) {
      const auto at = [&values, i](std::size_t j) { return values[i + j < kCount ? i + j : i]; };
      const __m128 low = sums_of_4(at(0), at(1), at(2), at(3));
      const __m128 high = i + 4 < kCount ? sums_of_4(at(4), at(5), at(6), at(7)) : low;
      store(to + i, _mm256_set_m128(high, low));
    }
  }
};

inline std::uint64_t byte_mask(__m256i low, __m256i high) noexcept {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(low)) |
         (static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(high))) << 32);
}

// Eight sums of int32, and products of pairs of int16.
struct CodeLanes {
  using Reg = __m256i;
  static constexpr std::size_t kRows = 4;  // of a strip against two registers of a panel

  static Reg load(const std::int32_t* from) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static Reg load_pairs(const std::int16_t* from) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static Reg broadcast_pair(const std::int16_t* from) noexcept {
    std::int32_t pair;
    __builtin_memcpy(&pair, from, sizeof(pair));
    return _mm256_set1_epi32(pair);
  }
  static Reg load_bytes(const std::uint8_t* from) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static Reg broadcast_four(const std::uint8_t* from) noexcept {
    std::int32_t four;
    __builtin_memcpy(&four, from, sizeof(four));
    return _mm256_set1_epi32(four);
  }
  // Unsigned bytes by signed ones, whose products are added by twos in int16, where they have to fit, then by fours.
  static Reg byte_pairs(Reg a, Reg b) noexcept { return _mm256_maddubs_epi16(a, b); }
  static Reg add_pairs(Reg a, Reg b) noexcept { return _mm256_add_epi16(a, b); }
  static Reg add_widened(Reg sum, Reg pairs) noexcept {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static Reg add_byte_pairs(Reg sum, Reg a, Reg b) noexcept { return add_widened(sum, byte_pairs(a, b)); }
  static Reg zero() noexcept { return _mm256_setzero_si256(); }
  // Of every byte.
  static Reg lower_halves(Reg bytes) noexcept { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }
  static Reg upper_halves(Reg bytes) noexcept { return lower_halves(_mm256_srli_epi16(bytes, 4)); }
  static Reg of_digits(Reg high, Reg low) noexcept { return _mm256_add_epi32(_mm256_slli_epi32(high, 8), low); }
  // The sums of the lanes of eight registers.
  static void store_sums(const Reg (&rows)[8], std::int32_t* to) noexcept {
    Reg fours[2];  // of four rows, both halves
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const Reg* const four = rows + 4 * i;
      fours[i] = _mm256_hadd_epi32(_mm256_hadd_epi32(four[0], four[1]), _mm256_hadd_epi32(four[2], four[3]));
    }
    const Reg low = _mm256_permute2x128_si256(fours[0], fours[1], 0x20);
    const Reg high = _mm256_permute2x128_si256(fours[0], fours[1], 0x31);
    store(to, _mm256_add_epi32(low, high));
  }
  // Bytes and, in the lower or upper halves of bytes, what follows them, less kZero: pairs of int16.
  template <bool kUpper, int kZero>
  static Reg refined_pairs(const std::uint8_t* codes, const std::uint8_t* residuals) noexcept {
    const auto bytes = [](const std::uint8_t* from) {
      return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    };
    const Reg both = bytes(residuals);
    const Reg half = kUpper ? _mm256_srli_epi16(both, 4) : _mm256_and_si256(both, _mm256_set1_epi16(15));
    return _mm256_add_epi16(_mm256_slli_epi16(bytes(codes), 4), _mm256_sub_epi16(half, _mm256_set1_epi16(kZero)));
  }
  static Reg add_products(Reg sum, Reg a, Reg b) noexcept { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
  static Reg max(Reg a, Reg b) noexcept { return _mm256_max_epi32(a, b); }
  static std::uint32_t at_least(Reg a, Reg b) noexcept {
    const Reg below = _mm256_cmpgt_epi32(b, a);
    return ~static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(below))) & 0xffU;
  }
  static void store(std::int32_t* to, Reg a) noexcept { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), a); }
  static Vec::Reg to_float(Reg a) noexcept { return _mm256_cvtepi32_ps(a); }
  // floor(x) brought to -limit .. limit, NaN to limit.
  static Reg floor_within(Vec::Reg x, float limit) noexcept {
    const Vec::Reg most = Vec::broadcast(limit);
    return _mm256_cvtps_epi32(_mm256_floor_ps(_mm256_max_ps(_mm256_min_ps(x, most), Vec::broadcast(-limit))));
  }
};

// Sixteen float64 partial sums over blocks of 16 floats.
struct Sums16 {
  __m256d lanes[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};

  static __m256d widen(const float* from) noexcept { return _mm256_cvtps_pd(_mm_loadu_ps(from)); }
  void add_products(const float* a, const float* b) noexcept {
    for (int i = 0; i < 4; ++i) lanes[i] = _mm256_fmadd_pd(widen(a + 4 * i), widen(b + 4 * i), lanes[i]);
  }
  void add_squared_differences(const float* a, const float* b) noexcept {
    for (int i = 0; i < 4; ++i) {
      const __m256d difference = _mm256_sub_pd(widen(a + 4 * i), widen(b + 4 * i));
      lanes[i] = _mm256_add_pd(lanes[i], _mm256_mul_pd(difference, difference));
    }
  }
  // Lanes 8 apart are added, then 4, 2 and 1 apart.
  [[nodiscard]] double total() const noexcept {
    const __m256d four = _mm256_add_pd(_mm256_add_pd(lanes[0], lanes[2]), _mm256_add_pd(lanes[1], lanes[3]));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
};

// 64 bytes of text. A mask has bit i set where byte i satisfies the condition.
struct ByteBlock {
  __m256i low_half;
  __m256i high_half;

  [[nodiscard]] std::uint64_t equal(std::uint8_t value) const noexcept {
    const __m256i wanted = _mm256_set1_epi8(static_cast<char>(value));
    return byte_mask(_mm256_cmpeq_epi8(low_half, wanted), _mm256_cmpeq_epi8(high_half, wanted));
  }
  [[nodiscard]] std::uint64_t between(std::uint8_t low, std::uint8_t high) const noexcept {
    const __m256i origin = _mm256_set1_epi8(static_cast<char>(low));
    const __m256i width = _mm256_set1_epi8(static_cast<char>(high - low));
    const __m256i a = _mm256_sub_epi8(low_half, origin);
    const __m256i b = _mm256_sub_epi8(high_half, origin);
    return byte_mask(_mm256_cmpeq_epi8(_mm256_min_epu8(a, width), a), _mm256_cmpeq_epi8(_mm256_min_epu8(b, width), b));
  }
};

inline ByteBlock load_bytes(const std::uint8_t* from) noexcept {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32))};
}

}  // namespace
