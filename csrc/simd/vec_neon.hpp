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

  static Reg zero() noexcept { return vdupq_n_f32(0.0F); }
  static Reg broadcast(float value) noexcept { return vdupq_n_f32(value); }
  static Reg load(const float* from) noexcept { return vld1q_f32(from); }
  static void store(float* to, Reg a) noexcept { vst1q_f32(to, a); }
  static Reg add(Reg a, Reg b) noexcept { return vaddq_f32(a, b); }
  static Reg sub(Reg a, Reg b) noexcept { return vsubq_f32(a, b); }
  static Reg mul(Reg a, Reg b) noexcept { return vmulq_f32(a, b); }
  static Reg div(Reg a, Reg b) noexcept { return vdivq_f32(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) noexcept { return vfmaq_f32(c, a, b); }
  static Reg max(Reg a, Reg b) noexcept { return vmaxq_f32(a, b); }
  static Reg negative_abs(Reg a) noexcept { return vnegq_f32(vabsq_f32(a)); }
  static Reg round(Reg a) noexcept { return vrndnq_f32(a); }
  static Reg power_of_two(Reg n) noexcept {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
  }
  static Reg select_non_negative(Reg x, Reg a, Reg b) noexcept { return vbslq_f32(vcgeq_f32(x, zero()), a, b); }
  static float sum(Reg a) noexcept { return vaddvq_f32(a); }

  // Stores the lane sums of kCount registers, padded with any value to a multiple of kLanes floats.
  template <std::size_t kCount>
  static void store_sums(const Reg (&values)[kCount], float* to) noexcept {
    for (std::size_t i = 0; i < kCount; i += 4) {
      const auto at = [&values, i](std::size_t j) { return values[i + j < kCount ? i + j : i]; };
      store(to + i, vpaddq_f32(vpaddq_f32(at(0), at(1)), vpaddq_f32(at(2), at(3))));
    }
  }
};

}  // namespace
