// Queries for the scan of bfloat16 rows: panels as a Product wants them, and the one layout of a single query.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// One query, of float32 on every tier: of each run of 2 * kLanes elements first those in even places, then the others,
// as the halves of a register of pairs meet them. Zeros fill the last run.
[[gnu::always_inline]] inline void pack_bf16_single(const Bf16Panel& step) noexcept {
  constexpr std::size_t kHalf = Vec::kLanes;
  auto* const out = static_cast<float*>(step.panel);
  for (std::size_t begin = 0; begin < step.depth; begin += 2 * kHalf) {
    for (std::size_t i = 0; i < 2 * kHalf; ++i) {
      const std::size_t at = begin + i % kHalf * 2 + i / kHalf;
      out[begin + i] = at < step.depth ? step.queries[at] : 0.0F;
    }
  }
}

template <class Product>
void pack_bf16_panel(const Bf16Panel& step) noexcept {
  if (step.width == 1) {
    pack_bf16_single(step);
  } else {
    Product::pack(step);
  }
}

template <class Product>
std::uint32_t bf16_query_bits() noexcept {
  return Product::kQueryBits;
}

}  // namespace
}  // namespace fastembed
