// The Advanced SIMD (NEON, AArch64) Vec: 4 floats, 32 registers.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace {

struct Vec {
  using Reg = float32x4_t;
  static constexpr int kLanes = 4;
  static constexpr int kContextBlock = 4;
  static constexpr int kTileColumns = 5;
  static constexpr int kScanRows = 8;

  static Reg zero() noexcept { return vdupq_n_f32(0.0F); }
  static Reg broadcast(float value) noexcept { return vdupq_n_f32(value); }
  static Reg load(const float* from) noexcept { return vld1q_f32(from); }
  static void store(float* to, Reg a) noexcept { vst1q_f32(to, a); }
  static void stream(float* to, Reg a) noexcept { store(to, a); }
  static void end_stream() noexcept {}
  static Reg add(Reg a, Reg b) noexcept { return vaddq_f32(a, b); }
  static Reg sub(Reg a, Reg b) noexcept { return vsubq_f32(a, b); }
  static Reg mul(Reg a, Reg b) noexcept { return vmulq_f32(a, b); }
  static Reg div(Reg a, Reg b) noexcept { return vdivq_f32(a, b); }
  static Reg sqrt(Reg a) noexcept { return vsqrtq_f32(a); }
  static Reg fma(Reg a, Reg b, Reg c) noexcept { return vfmaq_f32(c, a, b); }
  static Reg fms(Reg a, Reg b, Reg c) noexcept { return vfmaq_f32(vnegq_f32(c), a, b); }
  static Reg quotient(Reg a, Reg b) noexcept { return div(a, b); }
  static Reg max(Reg a, Reg b) noexcept { return vmaxq_f32(a, b); }
  static Reg min(Reg a, Reg b) noexcept { return vminq_f32(a, b); }
  // What was loaded stays in a register: a compiler may load it again for each of its uses.
  [[gnu::always_inline]] static void keep(Reg& x) noexcept { __asm__("" : "+w"(x)); }
  // x with its lowest three bits those of `low`.
  static Reg with_low_bits(Reg x, Reg low) noexcept {
    return vreinterpretq_f32_u32(vbslq_u32(vdupq_n_u32(7), vreinterpretq_u32_f32(low), vreinterpretq_u32_f32(x)));
  }
  static std::uint32_t at_least(Reg a, Reg b) noexcept {
    static constexpr std::uint32_t kLaneBits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32(kLaneBits)));
  }
  // Bits of two such masks, the first one's below.
  static std::uint32_t pair(std::uint32_t low, std::uint32_t high) noexcept { return low | high << kLanes; }
  static Reg load_first(const float* from, std::size_t count) noexcept {
    float lanes[4] = {};
    for (std::size_t i = 0; i < count; ++i) lanes[i] = from[i];
    return load(lanes);
  }
  static Reg negative_abs(Reg a) noexcept { return vnegq_f32(vabsq_f32(a)); }
  static Reg round(Reg a) noexcept { return vrndnq_f32(a); }
  static Reg power_of_two(Reg n) noexcept {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
  }
  static Reg scale(Reg a, Reg n) noexcept { return mul(a, power_of_two(n)); }
  static Reg select_non_negative(Reg x, Reg a, Reg b) noexcept { return vbslq_f32(vcgeq_f32(x, zero()), a, b); }
  static Reg choose(std::uint32_t bits, Reg a, Reg b) noexcept {
    static constexpr std::uint32_t kLaneBits[4] = {1, 2, 4, 8};
    return vbslq_f32(vtstq_u32(vdupq_n_u32(bits), vld1q_u32(kLaneBits)), a, b);
  }
  using Bits = uint32x4_t;
  static constexpr std::uint32_t kGoldenHalves = 0x9e379e37U;
  static Bits load_bits(const std::uint32_t* from) noexcept { return vld1q_u32(from); }
  static void store_bits(std::uint32_t* to, Bits bits) noexcept { vst1q_u32(to, bits); }
  static Bits next_random(Bits x) noexcept { return vaddq_u32(x, vdupq_n_u32(kGoldenHalves)); }
  static Bits low_half(Bits x) noexcept { return vandq_u32(x, vdupq_n_u32(0xffffU)); }
  static Bits high_half(Bits x) noexcept { return vshrq_n_u32(x, 16); }

  static Reg first_bf16(Reg pairs) noexcept {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(pairs), 16));
  }
  static Reg second_bf16(Reg pairs) noexcept {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(pairs), vdupq_n_u32(0xffff0000U)));
  }
  static Reg load_bf16(const std::uint16_t* from) noexcept {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from), 16));
  }
  static void store_bf16(std::uint16_t* to, Reg a, Bits random) noexcept {
    vst1_u16(to, vshrn_n_u32(vaddq_u32(vreinterpretq_u32_f32(a), random), 16));
  }
  static Reg load_f16(const std::uint16_t* from) noexcept { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
  static Reg load_i8(const std::int8_t* from) noexcept {
    std::uint32_t four;
    __builtin_memcpy(&four, from, sizeof(four));
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
  }
  // Adds a random part of a step and cuts off: a step is 13 bits, below 2^-14 it is 2^-24. At most 65504.
  static void store_f16(std::uint16_t* to, Reg a, Bits random) noexcept {
    const uint32x4_t sign = vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(0x80000000U));
    const Reg magnitude = vminq_f32(vabsq_f32(a), broadcast(65504.0F));
    const uint32x4_t exponent_bias = vdupq_n_u32(112U << 23);
    const uint32x4_t moved = vaddq_u32(vreinterpretq_u32_f32(magnitude), vshrq_n_u32(random, 3));
    const uint32x4_t normal = vshrq_n_u32(vsubq_u32(moved, exponent_bias), 13);
    const Reg steps = fma(vcvtq_f32_u32(random), broadcast(0x1p-16F), mul(magnitude, broadcast(0x1p24F)));
    const uint32x4_t small = vcvtq_u32_f32(steps);
    const uint32x4_t chosen = vbslq_u32(vcltq_f32(magnitude, broadcast(0x1p-14F)), small, normal);
    vst1_u16(to, vmovn_u32(vorrq_u32(chosen, vshrq_n_u32(sign, 16))));
  }
  static float sum(Reg a) noexcept { return vaddvq_f32(a); }
  static Reg exponent(Reg x, Reg& mantissa) noexcept {
    const int32x4_t bits = vreinterpretq_s32_f32(x);
    mantissa = vreinterpretq_f32_s32(vorrq_s32(vandq_s32(bits, vdupq_n_s32(0x007fffff)), vdupq_n_s32(0x3f800000)));
    return vcvtq_f32_s32(vsubq_s32(vshrq_n_s32(bits, 23), vdupq_n_s32(127)));
  }

  // Element j of register i becomes element i of register j.
  static void transpose(Reg (&r)[kLanes]) noexcept {
    const float32x4x2_t ab = vtrnq_f32(r[0], r[1]);
    const float32x4x2_t cd = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    r[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    r[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    r[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
  }

  // Stores the lane sums of kCount registers, padded with any value to a multiple of kLanes floats.
  template <std::size_t kCount>
  [[gnu::always_inline]] static void store_sums(const Reg (&values)[kCount], float* to) noexcept {
    for (std::size_t i = 0; i < kCount; i += 4) {
      const auto at = [&values, i](std::size_t j) { return values[i + j < kCount ? i + j : i]; };
      store(to + i, vpaddq_f32(vpaddq_f32(at(0), at(1)), vpaddq_f32(at(2), at(3))));
    }
  }
};

// Bytes of all ones or zeros to bits: one bit a byte, then three pairwise additions.
inline std::uint64_t byte_mask(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) noexcept {
  const uint8x16_t bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201U));
  const uint8x16_t ab = vpaddq_u8(vandq_u8(a, bits), vandq_u8(b, bits));
  const uint8x16_t cd = vpaddq_u8(vandq_u8(c, bits), vandq_u8(d, bits));
  const uint8x16_t abcd = vpaddq_u8(ab, cd);
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(abcd, abcd)), 0);
}

// Four sums of int32, and products of pairs of int16.
struct CodeLanes {
  using Reg = int32x4_t;
  static constexpr std::size_t kRows = 8;  // of a strip against two registers of a panel

  static Reg load(const std::int32_t* from) noexcept { return vld1q_s32(from); }
  static Reg load_pairs(const std::int16_t* from) noexcept { return vreinterpretq_s32_s16(vld1q_s16(from)); }
  static Reg broadcast_pair(const std::int16_t* from) noexcept {
    std::int32_t pair;
    __builtin_memcpy(&pair, from, sizeof(pair));
    return vdupq_n_s32(pair);
  }
  static Reg load_bytes(const std::uint8_t* from) noexcept { return vreinterpretq_s32_u8(vld1q_u8(from)); }
  static Reg zero() noexcept { return vdupq_n_s32(0); }
  // Of every byte.
  static Reg lower_halves(Reg bytes) noexcept {
    return vreinterpretq_s32_u8(vandq_u8(vreinterpretq_u8_s32(bytes), vdupq_n_u8(15)));
  }
  static Reg upper_halves(Reg bytes) noexcept {
    return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(bytes), 4));
  }
  // Bytes below 128 by signed ones, by fours.
  static Reg add_byte_pairs(Reg sum, Reg a, Reg b) noexcept {
    const int8x16_t x = vreinterpretq_s8_s32(a), y = vreinterpretq_s8_s32(b);
    const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y));
    return vpadalq_s16(vpadalq_s16(sum, low), vmull_high_s8(x, y));
  }
  static Reg of_digits(Reg high, Reg low) noexcept { return vaddq_s32(vshlq_n_s32(high, 8), low); }
  // The sums of the lanes of eight registers.
  static void store_sums(const Reg (&rows)[8], std::int32_t* to) noexcept {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const Reg* const four = rows + 4 * i;
      vst1q_s32(to + 4 * i, vpaddq_s32(vpaddq_s32(four[0], four[1]), vpaddq_s32(four[2], four[3])));
    }
  }
  // Bytes and, in the lower or upper halves of bytes, what follows them, less kZero: pairs of int16.
  template <bool kUpper, int kZero>
  static Reg refined_pairs(const std::uint8_t* codes, const std::uint8_t* residuals) noexcept {
    const uint8x8_t both = vld1_u8(residuals);
    const uint8x8_t half = kUpper ? vshr_n_u8(both, 4) : vand_u8(both, vdup_n_u8(15));
    const int16x8_t refined = vreinterpretq_s16_u16(vaddw_u8(vshll_n_u8(vld1_u8(codes), 4), half));
    return vreinterpretq_s32_s16(vsubq_s16(refined, vdupq_n_s16(kZero)));
  }
  static Reg add_products(Reg sum, Reg a, Reg b) noexcept {
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    const Reg low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    return vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(x, y)));
  }
  static Reg max(Reg a, Reg b) noexcept { return vmaxq_s32(a, b); }
  static std::uint32_t at_least(Reg a, Reg b) noexcept {
    const std::uint32_t bits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcgeq_s32(a, b), vld1q_u32(bits)));
  }
  static void store(std::int32_t* to, Reg a) noexcept { vst1q_s32(to, a); }
  static Vec::Reg to_float(Reg a) noexcept { return vcvtq_f32_s32(a); }
  // floor(x) brought to -limit .. limit, NaN to limit.
  static Reg floor_within(Vec::Reg x, float limit) noexcept {
    const Vec::Reg most = Vec::broadcast(limit);
    const Vec::Reg below = vbslq_f32(vcltq_f32(x, most), x, most);
    return vcvtmq_s32_f32(vmaxq_f32(below, Vec::broadcast(-limit)));
  }
};

// Sixteen float64 partial sums over blocks of 16 floats.
struct Sums16 {
  float64x2_t lanes[8] = {};

  static float64x2_t widen(const float* from) noexcept { return vcvt_f64_f32(vld1_f32(from)); }
  void add_products(const float* a, const float* b) noexcept {
    for (int i = 0; i < 8; ++i) lanes[i] = vfmaq_f64(lanes[i], widen(a + 2 * i), widen(b + 2 * i));
  }
  void add_squared_differences(const float* a, const float* b) noexcept {
    for (int i = 0; i < 8; ++i) {
      const float64x2_t difference = vsubq_f64(widen(a + 2 * i), widen(b + 2 * i));
      lanes[i] = vaddq_f64(lanes[i], vmulq_f64(difference, difference));
    }
  }
  // Lanes 8 apart are added, then 4, 2 and 1 apart.
  [[nodiscard]] double total() const noexcept {
    const float64x2_t even = vaddq_f64(vaddq_f64(lanes[0], lanes[4]), vaddq_f64(lanes[2], lanes[6]));
    const float64x2_t odd = vaddq_f64(vaddq_f64(lanes[1], lanes[5]), vaddq_f64(lanes[3], lanes[7]));
    const float64x2_t two = vaddq_f64(even, odd);
    return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
  }
};

// 64 bytes of text. A mask has bit i set where byte i satisfies the condition.
struct ByteBlock {
  uint8x16x4_t quarters;

  [[nodiscard]] std::uint64_t equal(std::uint8_t value) const noexcept {
    const uint8x16_t wanted = vdupq_n_u8(value);
    return byte_mask(vceqq_u8(quarters.val[0], wanted), vceqq_u8(quarters.val[1], wanted),
                     vceqq_u8(quarters.val[2], wanted), vceqq_u8(quarters.val[3], wanted));
  }
  [[nodiscard]] std::uint64_t between(std::uint8_t low, std::uint8_t high) const noexcept {
    const uint8x16_t origin = vdupq_n_u8(low);
    const uint8x16_t width = vdupq_n_u8(static_cast<std::uint8_t>(high - low));
    return byte_mask(
        vcleq_u8(vsubq_u8(quarters.val[0], origin), width), vcleq_u8(vsubq_u8(quarters.val[1], origin), width),
        vcleq_u8(vsubq_u8(quarters.val[2], origin), width), vcleq_u8(vsubq_u8(quarters.val[3], origin), width));
  }
};

inline ByteBlock load_bytes(const std::uint8_t* from) noexcept {
  return {{{vld1q_u8(from), vld1q_u8(from + 16), vld1q_u8(from + 32), vld1q_u8(from + 48)}}};
}

}  // namespace
