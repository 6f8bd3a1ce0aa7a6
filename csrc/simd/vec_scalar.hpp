// The scalar Vec: one float, the reference that every wider Vec is tested against.
// A Vec names its register, its lane count, how many context rows a register block holds, and its operations.
#pragma once

#include <cstddef>
#include <cstdint>

namespace {

struct Vec {
  using Reg = float;
  static constexpr int kLanes = 1;
  static constexpr int kContextBlock = 2;
  static constexpr int kTileColumns = 4;  // registers of sums a row in the products of a tile
  static constexpr int kScanRows = 2;

  static Reg zero() noexcept { return 0.0F; }
  static Reg broadcast(float value) noexcept { return value; }
  static Reg load(const float* from) noexcept { return *from; }
  static void store(float* to, Reg a) noexcept { *to = a; }
  static void stream(float* to, Reg a) noexcept { store(to, a); }
  static void end_stream() noexcept {}
  static Reg add(Reg a, Reg b) noexcept { return a + b; }
  static Reg sub(Reg a, Reg b) noexcept { return a - b; }
  static Reg mul(Reg a, Reg b) noexcept { return a * b; }
  static Reg div(Reg a, Reg b) noexcept { return a / b; }
  static Reg sqrt(Reg a) noexcept { return __builtin_sqrtf(a); }
  static Reg fma(Reg a, Reg b, Reg c) noexcept { return a * b + c; }
  static Reg fms(Reg a, Reg b, Reg c) noexcept { return a * b - c; }
  static Reg quotient(Reg a, Reg b) noexcept { return div(a, b); }
  static Reg max(Reg a, Reg b) noexcept { return a > b ? a : b; }
  static Reg min(Reg a, Reg b) noexcept { return a < b ? a : b; }
  // What was loaded stays in a register: a compiler may load it again for each of its uses.
  [[gnu::always_inline]] static void keep(Reg&) noexcept {}
  // x with its lowest three bits those of `low`.
  static Reg with_low_bits(Reg x, Reg low) noexcept {
    const auto bits = __builtin_bit_cast(std::uint32_t, x) & ~7U;
    return __builtin_bit_cast(float, bits | (__builtin_bit_cast(std::uint32_t, low) & 7U));
  }
  static std::uint32_t at_least(Reg a, Reg b) noexcept { return a >= b ? 1U : 0U; }
  // Bits of two such masks, the first one's below.
  static std::uint32_t pair(std::uint32_t low, std::uint32_t high) noexcept { return low | high << kLanes; }
  static Reg load_first(const float* from, std::size_t count) noexcept { return count == 0 ? 0.0F : *from; }
  static Reg negative_abs(Reg a) noexcept { return -__builtin_fabsf(a); }
  static Reg round(Reg a) noexcept { return (a + 12582912.0F) - 12582912.0F; }
  // 2^n for integral n in [-126, 127].
  static Reg power_of_two(Reg n) noexcept {
    return __builtin_bit_cast(float, (static_cast<std::int32_t>(n) + 127) << 23);
  }
  // a where x >= 0, else b.
  static Reg scale(Reg a, Reg n) noexcept { return mul(a, power_of_two(n)); }
  static Reg select_non_negative(Reg x, Reg a, Reg b) noexcept { return x >= 0.0F ? a : b; }
  // Lane i is from a where bit i is set, else from b.
  static Reg choose(std::uint32_t bits, Reg a, Reg b) noexcept { return (bits & 1U) != 0 ? a : b; }
  // Random bits: each half of a lane goes through its values in steps of the golden ratio (Weyl, 1916), so that draws
  // from a random start are uniform, and their mean comes closer to a half than that of independent ones.
  using Bits = std::uint32_t;
  static constexpr std::uint32_t kGoldenHalves = 0x9e379e37U;
  static Bits load_bits(const std::uint32_t* from) noexcept { return *from; }
  static void store_bits(std::uint32_t* to, Bits bits) noexcept { *to = bits; }
  static Bits next_random(Bits x) noexcept { return x + kGoldenHalves; }
  static Bits low_half(Bits x) noexcept { return x & 0xffffU; }
  static Bits high_half(Bits x) noexcept { return x >> 16; }

  // Of pairs of bfloat16, a pair in the place of a float: the first ones, and the second ones.
  static Reg first_bf16(Reg pairs) noexcept {
    return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, pairs) << 16);
  }
  static Reg second_bf16(Reg pairs) noexcept {
    return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, pairs) & 0xffff0000U);
  }
  // 16-bit rows. Stores round to either neighbour as 16 random bits say.
  static Reg load_bf16(const std::uint16_t* from) noexcept {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(*from) << 16);
  }
  static void store_bf16(std::uint16_t* to, Reg a, Bits random) noexcept {
    *to = static_cast<std::uint16_t>((__builtin_bit_cast(std::uint32_t, a) + random) >> 16);
  }
  static Reg load_f16(const std::uint16_t* from) noexcept {
    const std::uint32_t sign = (*from & 0x8000U) << 16;
    const std::uint32_t magnitude = *from & 0x7fffU;
    // Subnormals and zero count steps of 2^-24; the rest shifts into place with 112 more of exponent.
    const float value = magnitude < 0x400U ? static_cast<float>(magnitude) * 0x1p-24F
                                           : __builtin_bit_cast(float, (magnitude << 13) + (112U << 23));
    return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, value) | sign);
  }
  static Reg load_i8(const std::int8_t* from) noexcept { return static_cast<float>(*from); }
  // At most 65504, the largest float16.
  static void store_f16(std::uint16_t* to, Reg a, Bits random) noexcept {
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, a);
    float magnitude = __builtin_fabsf(a);
    magnitude = magnitude < 65504.0F ? magnitude : 65504.0F;
    const std::uint32_t normal = (__builtin_bit_cast(std::uint32_t, magnitude) - (112U << 23) + (random >> 3)) >> 13;
    const auto small =
        static_cast<std::uint32_t>(magnitude * 0x1p24F + static_cast<float>(random & 0xffffU) * 0x1p-16F);
    *to = static_cast<std::uint16_t>((magnitude < 0x1p-14F ? small : normal) | ((bits >> 16) & 0x8000U));
  }
  static float sum(Reg a) noexcept { return a; }
  // x = mantissa * 2^exponent with the mantissa in [1, 2), for positive normal x.
  static Reg exponent(Reg x, Reg& mantissa) noexcept {
    const auto bits = __builtin_bit_cast(std::int32_t, x);
    mantissa = __builtin_bit_cast(float, (bits & 0x007fffff) | 0x3f800000);
    return static_cast<float>((bits >> 23) - 127);
  }
  static void transpose(Reg (&)[kLanes]) noexcept {}

  // Stores the lane sums of kCount registers, padded with any value to a multiple of kLanes floats.
  template <std::size_t kCount>
  static void store_sums(const Reg (&values)[kCount], float* to) noexcept {
    for (std::size_t i = 0; i < kCount; ++i) to[i] = values[i];
  }
};

// A sum of int32, and products of pairs of int16.
struct CodeLanes {
  using Reg = std::int32_t;
  static constexpr std::size_t kRows = 2;  // of a strip against two registers of a panel

  static Reg load(const std::int32_t* from) noexcept { return *from; }
  // Two int16 side by side in a register.
  static Reg load_pairs(const std::int16_t* from) noexcept { return broadcast_pair(from); }
  static Reg broadcast_pair(const std::int16_t* from) noexcept {
    Reg pair;
    __builtin_memcpy(&pair, from, sizeof(pair));
    return pair;
  }
  // Four bytes side by side.
  static Reg load_bytes(const std::uint8_t* from) noexcept {
    Reg four;
    __builtin_memcpy(&four, from, sizeof(four));
    return four;
  }
  static Reg zero() noexcept { return 0; }
  // Of every byte.
  static Reg lower_halves(Reg bytes) noexcept { return bytes & 0x0f0f0f0f; }
  static Reg upper_halves(Reg bytes) noexcept { return lower_halves(bytes >> 4); }
  // Unsigned bytes by signed ones.
  static Reg add_byte_pairs(Reg sum, Reg a, Reg b) noexcept {
    std::uint8_t x[4];
    std::int8_t y[4];
    __builtin_memcpy(x, &a, sizeof(x));
    __builtin_memcpy(y, &b, sizeof(y));
    for (int i = 0; i < 4; ++i) sum += x[i] * y[i];
    return sum;
  }
  static Reg of_digits(Reg high, Reg low) noexcept { return 256 * high + low; }
  static void store_sums(const Reg (&rows)[8], std::int32_t* to) noexcept {
    for (int i = 0; i < 8; ++i) to[i] = rows[i];
  }
  // Bytes and, in the lower or upper halves of bytes, what follows them, less kZero: pairs of int16.
  template <bool kUpper, int kZero>
  static Reg refined_pairs(const std::uint8_t* codes, const std::uint8_t* residuals) noexcept {
    std::int16_t pair[2];
    for (int i = 0; i < 2; ++i) {
      const int half = kUpper ? residuals[i] / 16 : residuals[i] % 16;
      pair[i] = static_cast<std::int16_t>(codes[i] * 16 + half - kZero);
    }
    return load_pairs(pair);
  }
  static Reg add_products(Reg sum, Reg a, Reg b) noexcept {
    return sum + (a >> 16) * (b >> 16) + static_cast<std::int16_t>(a & 0xffff) * static_cast<std::int16_t>(b & 0xffff);
  }
  static Reg max(Reg a, Reg b) noexcept { return a > b ? a : b; }
  static std::uint32_t at_least(Reg a, Reg b) noexcept { return a >= b ? 1U : 0U; }
  static void store(std::int32_t* to, Reg a) noexcept { *to = a; }
  static Vec::Reg to_float(Reg a) noexcept { return static_cast<float>(a); }
  // floor(x) brought to -limit .. limit, NaN to limit.
  static Reg floor_within(float x, float limit) noexcept {
    const float below = x < limit ? x : limit, within = below > -limit ? below : -limit;
    const auto cut = static_cast<Reg>(within);
    return static_cast<float>(cut) > within ? cut - 1 : cut;
  }
};

// Sixteen float64 partial sums over blocks of 16 floats.
struct Sums16 {
  double lanes[16] = {};

  void add_products(const float* a, const float* b) noexcept {
    for (int i = 0; i < 16; ++i) lanes[i] += double{a[i]} * double{b[i]};
  }
  void add_squared_differences(const float* a, const float* b) noexcept {
    for (int i = 0; i < 16; ++i) {
      const double difference = double{a[i]} - double{b[i]};
      lanes[i] += difference * difference;
    }
  }
  // Lanes 8 apart are added, then 4, 2 and 1 apart.
  [[nodiscard]] double total() const noexcept {
    double sums[8];
    for (int i = 0; i < 8; ++i) sums[i] = lanes[i] + lanes[i + 8];
    for (int half = 4; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
    }
    return sums[0];
  }
};

// 64 bytes of text. A mask has bit i set where byte i satisfies the condition.
struct ByteBlock {
  std::uint8_t bytes[64];

  [[nodiscard]] std::uint64_t equal(std::uint8_t value) const noexcept { return between(value, value); }
  [[nodiscard]] std::uint64_t between(std::uint8_t low, std::uint8_t high) const noexcept {
    std::uint64_t mask = 0;
    for (int i = 0; i < 64; ++i) {
      const bool inside = static_cast<std::uint8_t>(bytes[i] - low) <= static_cast<std::uint8_t>(high - low);
      mask |= static_cast<std::uint64_t>(inside) << i;
    }
    return mask;
  }
};

inline ByteBlock load_bytes(const std::uint8_t* from) noexcept {
  ByteBlock block;
  __builtin_memcpy(block.bytes, from, 64);
  return block;
}

}  // namespace
