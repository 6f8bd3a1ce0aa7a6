// Products of rows of bfloat16 with queries of bfloat16, two elements at a time (VDPBF16PS), with sums in float32.
#pragma once

#include "kernels/bf16_panels.inl.hpp"
#include "kernels/four_bytes.inl.hpp"

namespace fastembed {
namespace {

struct Bf16Pairs : FourBytes<Bf16Pairs> {
  using Lanes = FloatSums;
  using Reg = __m512;
  static constexpr std::uint32_t kQueryBits = 16;
  static constexpr std::size_t kElements = 2;  // of four bytes

  static Reg add_products(Reg sum, __m512i a, __m512i b) noexcept {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }

  // Element i of query j is at panel[(i / 2) * 2 * width + 2 * j + i % 2]: its upper half, as the rest is zeros.
  static void pack(const Bf16Panel& step) noexcept {
    auto* const out = static_cast<std::uint16_t*>(step.panel);
    for (std::size_t j = 0; j < step.width; ++j) {
      const float* const query = step.queries + j * step.depth;
      for (std::size_t i = 0; i < step.depth; ++i) {
        const float element = j < step.count ? query[i] : 0.0F;
        out[(i / 2 * step.width + j) * 2 + i % 2] =
            static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, element) >> 16);
      }
    }
  }
};

}  // namespace
}  // namespace fastembed
