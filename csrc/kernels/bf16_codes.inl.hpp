// Rows as bfloat16: how they are rounded, and their products with queries of float32, for which they are widened. A
// tier with products of bfloat16 pairs has panels of its own (bf16_pairs.inl.hpp).
#pragma once

#include "kernels/bf16_panels.inl.hpp"
#include "kernels/code_rows.inl.hpp"
#include "kernels/scan_codes.inl.hpp"
#include "kernels/scan_panel.inl.hpp"

namespace fastembed {
namespace {

// Codes of bfloat16, a power of two a group: scaled elements are in -2 .. 2, and some are at least 1.
struct Bf16Coding {
  using Code = std::uint16_t;
  static constexpr bool kHasParts = false;
  static float scale(float most) noexcept {
    const std::uint32_t exponent = __builtin_bit_cast(std::uint32_t, most) >> 23;
    return __builtin_bit_cast(float, (254 - exponent) << 23);
  }
  // To 8 significant bits (Veltkamp's splitting). Cutting off the lower half changes denormals alone, and the sums of
  // errors see it.
  static Vec::Reg round(Vec::Reg scaled) noexcept {
    const Vec::Reg large = Vec::mul(scaled, Vec::broadcast(65537.0F));
    return Vec::second_bf16(Vec::sub(large, Vec::sub(large, scaled)));
  }
  static void store(Vec::Reg rounded, Code* to) noexcept {
    constexpr std::uint32_t kNothing[kCodeLanes] = {};
    Vec::store_bf16(to, rounded, Vec::load_bits(kNothing));
  }
};

// A panel of float32 queries; rows are widened a strip at a time.
struct WideProduct {
  using Lanes = FloatSums;
  using Reg = Vec::Reg;
  static constexpr std::uint32_t kQueryBits = 32;
  static constexpr std::size_t kRows = CodeLanes::kRows;
  static constexpr std::size_t kChunk = 256;  // of the depth, widened at once
  static constexpr std::size_t kPrefetchDepth = 32;

  // Element i of query j is at panel[i * width + j].
  static void pack(const Bf16Panel& step) noexcept {
    auto* const out = static_cast<float*>(step.panel);
    for (std::size_t j = 0; j < step.width; ++j) {
      const float* const query = step.queries + j * step.depth;
      for (std::size_t i = 0; i < step.depth; ++i) out[i * step.width + j] = j < step.count ? query[i] : 0.0F;
    }
  }

  static void widen(const std::uint8_t* codes, std::size_t count, float* out) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t half;
      __builtin_memcpy(&half, codes + 2 * i, sizeof(half));
      out[i] = __builtin_bit_cast(float, static_cast<std::uint32_t>(half) << 16);
    }
  }

  template <std::size_t kStrip, std::size_t kColumns>
  [[gnu::always_inline]] static void multiply(Reg (&sums)[kStrip * kColumns], const std::uint8_t* rows,
                                              std::size_t row_stride, const void* panel, std::size_t first_query,
                                              std::size_t width, std::size_t depth, PiecePrefetch& prefetch) noexcept {
    const float* queries = static_cast<const float*>(panel) + first_query;
    float wide[kStrip * kChunk];
    for (std::size_t begin = 0; begin < depth; begin += kChunk) {
      const std::size_t count = depth - begin < kChunk ? depth - begin : kChunk;
      for (std::size_t r = 0; r < kStrip; ++r) widen(rows + r * row_stride + 2 * begin, count, wide + r * kChunk);
      for (std::size_t i = 0; i < count; ++i, queries += width) {
        if (i % kPrefetchDepth == 0) prefetch.turn();
        panel_step<kStrip, kColumns>(sums, wide + i, kChunk, queries);
      }
    }
  }
};

// The lane sums of a row's products. Row after row: from memory the processor's prefetchers know a single stream best.
[[gnu::always_inline]] inline Vec::Reg multiply_bf16_row(const std::uint8_t* row, std::size_t depth,
                                                         const float* query) noexcept {
  const auto* const pairs = reinterpret_cast<const float*>(row);
  Vec::Reg first = Vec::zero(), second = first;
  const auto add = [&](Vec::Reg both, std::size_t i) {
    read_ahead(pairs + i);
    first = Vec::fma(Vec::first_bf16(both), Vec::load(query + 2 * i), first);
    second = Vec::fma(Vec::second_bf16(both), Vec::load(query + 2 * i + kCodeLanes), second);
  };
  std::size_t i = 0;
  for (; i + kCodeLanes <= depth / 2; i += kCodeLanes) add(Vec::load(pairs + i), i);
  // What lies behind a row may be no number.
  if (i < depth / 2) add(Vec::load_first(pairs + i, depth / 2 - i), i);
  return Vec::add(first, second);
}

void scan_bf16_rows(const std::uint8_t* rows, std::size_t row_stride, std::size_t count, std::size_t depth,
                    const void* panel, float* products) noexcept {
  const auto* const query = static_cast<const float*>(panel);
  for (std::size_t r = 0; r < count; r += kCodeGroup) {
    Vec::Reg lanes[kCodeGroup];
    for (std::size_t j = 0; j < kCodeGroup; ++j) {
      lanes[j] = multiply_bf16_row(rows + (r + j) * row_stride, depth, query);
    }
    float sums[kCodeGroup + Vec::kLanes];
    Vec::store_sums(lanes, sums);
    for (std::size_t j = 0; j < kCodeGroup; ++j) products[r + j] = sums[j];
  }
}

}  // namespace
}  // namespace fastembed
