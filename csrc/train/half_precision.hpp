// float32 to and from the 16-bit formats of training rows, one value at a time, rounding to nearest even.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace fastembed::train {

inline float from_bfloat16(std::uint16_t value) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

inline std::uint16_t to_bfloat16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

inline float from_float16(std::uint16_t value) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(value & 0x8000U) << 16;
  const std::uint32_t magnitude = value & 0x7fffU;
  // Subnormals count steps of 2^-24; the rest shifts into place with 112 more of exponent.
  const float unsigned_value = magnitude < 0x400U ? static_cast<float>(magnitude) * 0x1p-24F
                                                  : std::bit_cast<float>((magnitude << 13) + (112U << 23));
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(unsigned_value) | sign);
}

/// At most 65504, the largest float16.
inline std::uint16_t to_float16(float value) noexcept {
  const std::uint32_t sign = (std::bit_cast<std::uint32_t>(value) >> 16) & 0x8000U;
  const float magnitude = std::fmin(std::fabs(value), 65504.0F);
  const auto bits = std::bit_cast<std::uint32_t>(magnitude);
  const std::uint32_t normal = (bits - (112U << 23) + 0xfffU + ((bits >> 13) & 1U)) >> 13;
  const auto small = static_cast<std::uint32_t>(std::lrintf(magnitude * 0x1p24F));
  return static_cast<std::uint16_t>((magnitude < 0x1p-14F ? small : normal) | sign);
}

}  // namespace fastembed::train
