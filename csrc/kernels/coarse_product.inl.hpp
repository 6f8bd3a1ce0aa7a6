// The upper halves of codes against one query of int8: half the bytes of the codes, for scans that memory bounds.
#pragma once

#include "kernels/prefetch.inl.hpp"
#include "kernels/scan_codes.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kCoarseBytes = 4 * static_cast<std::size_t>(Vec::kLanes);  // a register of half bytes
constexpr std::size_t coarse_steps(std::size_t stride) noexcept { return (stride + kCoarseBytes - 1) / kCoarseBytes; }

// How half bytes are multiplied by the query's bytes; a tier with products of four bytes has its own.
struct HalfByteProduct {
  using Reg = CodeLanes::Reg;

  [[gnu::always_inline]] static Reg add_products(Reg sum, Reg a, Reg b) noexcept {
    return CodeLanes::add_byte_pairs(sum, a, b);
  }
};

// For every register of a row: what its lower halves meet, then its upper halves. Zeros behind the last element, so
// that what is read behind a row counts for nothing.
[[maybe_unused]] void pack_coarse_query(const CodePanel& step) noexcept {
  auto* const out = static_cast<std::int8_t*>(step.panel);
  std::int32_t sum = 0;
  for (std::size_t byte = 0; byte < coarse_steps(nibble_stride(step.depth)) * kCoarseBytes; ++byte) {
    for (std::size_t half = 0; half < 2; ++half) {
      constexpr std::size_t kHalf = kNibbleBlock / 2;
      const std::size_t i = byte / kHalf * kNibbleBlock + half * kHalf + byte % kHalf;
      const std::int16_t element = i < step.depth ? step.queries[i] : std::int16_t{0};
      const std::size_t at = (byte / kCoarseBytes * 2 + half) * kCoarseBytes + byte % kCoarseBytes;
      out[at] = static_cast<std::int8_t>(element);
      sum += element;
    }
  }
  step.corrections[0] = -kCoarseZero * sum;
}

// Row after row: from memory the processor's prefetchers know a single stream best.
template <class Product>
void scan_coarse_rows(const std::uint8_t* rows, std::size_t row_stride, std::size_t count, const void* panel,
                      std::int32_t correction, std::int32_t* products) noexcept {
  using Reg = CodeLanes::Reg;
  const std::size_t steps = coarse_steps(row_stride);
  for (std::size_t first = 0; first < count; first += kCodeGroup) {
    Reg sums[kCodeGroup];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kCodeGroup; ++r) {
      const std::uint8_t* const row = rows + (first + r) * row_stride;
      const auto* query = static_cast<const std::uint8_t*>(panel);
      sums[r] = CodeLanes::zero();
      for (std::size_t s = 0; s < steps; ++s, query += 2 * kCoarseBytes) {
        read_ahead(row + s * kCoarseBytes);
        const Reg both = CodeLanes::load_bytes(row + s * kCoarseBytes);
        sums[r] = Product::add_products(sums[r], CodeLanes::lower_halves(both), CodeLanes::load_bytes(query));
        sums[r] =
            Product::add_products(sums[r], CodeLanes::upper_halves(both), CodeLanes::load_bytes(query + kCoarseBytes));
      }
    }
    std::int32_t totals[kCodeGroup];
    CodeLanes::store_sums(sums, totals);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kCodeGroup; ++r) products[first + r] = 2 * totals[r] + correction;
  }
}

}  // namespace
}  // namespace fastembed
