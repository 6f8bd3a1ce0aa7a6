// Products of rows with a panel of queries four bytes of a row at a time, each with the same four bytes of every query,
// which stand side by side in the panel. How the elements in them are multiplied is the derived Product's matter.
#pragma once

#include "kernels/scan_codes.inl.hpp"

namespace fastembed {
namespace {

// Product has kElements of four bytes, Lanes for its sums, and add_products over a register of each side.
template <class Product>
struct FourBytes {
  static constexpr std::size_t kRows = 8;
  static constexpr std::size_t kPrefetchDepth = 32;

  template <std::size_t kStrip, std::size_t kColumns, class Reg>
  [[gnu::always_inline]] static void step(Reg (&sums)[kStrip * kColumns], const std::uint8_t* rows,
                                          std::size_t row_stride, const std::uint8_t* panel) noexcept {
    constexpr std::size_t kRegister = 4 * static_cast<std::size_t>(Vec::kLanes);
    CodeLanes::Reg columns[kColumns];
#pragma GCC unroll 2
    for (std::size_t c = 0; c < kColumns; ++c) columns[c] = CodeLanes::load_bytes(panel + c * kRegister);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kStrip; ++r) {
      const CodeLanes::Reg row = CodeLanes::broadcast_four(rows + r * row_stride);
#pragma GCC unroll 2
      for (std::size_t c = 0; c < kColumns; ++c) {
        sums[r * kColumns + c] = Product::add_products(sums[r * kColumns + c], row, columns[c]);
      }
    }
  }

  template <std::size_t kStrip, std::size_t kColumns, class Reg>
  [[gnu::always_inline]] static void multiply(Reg (&sums)[kStrip * kColumns], const std::uint8_t* rows,
                                              std::size_t row_stride, const void* panel, std::size_t first_query,
                                              std::size_t width, std::size_t depth, PiecePrefetch& prefetch) noexcept {
    constexpr std::size_t kBytes = 4 / Product::kElements;  // of an element
    const auto* queries = static_cast<const std::uint8_t*>(panel) + 4 * first_query;
    const std::size_t end = depth * kBytes;
    std::size_t i = 0;
    for (; i + kPrefetchDepth * kBytes <= end; i += kPrefetchDepth * kBytes) {
      prefetch.turn();
#pragma GCC unroll 16
      for (std::size_t at = 0; at < kPrefetchDepth * kBytes; at += 4, queries += 4 * width) {
        step<kStrip, kColumns>(sums, rows + i + at, row_stride, queries);
      }
    }
    for (; i < end; i += 4, queries += 4 * width) step<kStrip, kColumns>(sums, rows + i, row_stride, queries);
  }
};

}  // namespace
}  // namespace fastembed
