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

  static Reg zero() noexcept { return 0.0F; }
  static Reg broadcast(float value) noexcept { return value; }
  static Reg load(const float* from) noexcept { return *from; }
  static void store(float* to, Reg a) noexcept { *to = a; }
  static Reg add(Reg a, Reg b) noexcept { return a + b; }
  static Reg sub(Reg a, Reg b) noexcept { return a - b; }
  static Reg mul(Reg a, Reg b) noexcept { return a * b; }
  static Reg div(Reg a, Reg b) noexcept { return a / b; }
  static Reg fma(Reg a, Reg b, Reg c) noexcept { return a * b + c; }
  static Reg max(Reg a, Reg b) noexcept { return a > b ? a : b; }
  static Reg negative_abs(Reg a) noexcept { return -__builtin_fabsf(a); }
  static Reg round(Reg a) noexcept { return (a + 12582912.0F) - 12582912.0F; }
  // 2^n for integral n in [-126, 127].
  static Reg power_of_two(Reg n) noexcept {
    return __builtin_bit_cast(float, (static_cast<std::int32_t>(n) + 127) << 23);
  }
  // a where x >= 0, else b.
  static Reg select_non_negative(Reg x, Reg a, Reg b) noexcept { return x >= 0.0F ? a : b; }
  // Lane i is from a where bit i is set, else from b.
  static Reg choose(std::uint32_t bits, Reg a, Reg b) noexcept { return (bits & 1U) != 0 ? a : b; }
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
