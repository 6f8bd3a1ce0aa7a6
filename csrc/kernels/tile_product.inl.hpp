// The products of a tile: sums of rank-one updates held in registers, over operands packed as a Product likes them.
// A Product names how many factors one 32-bit element holds (kFactors), multiplies, and packs, and says which rows it
// takes as they are (kInWords). FloatProduct is here, the other in bf16_product.inl.hpp. Elements travel as float bits
// whatever they hold.
#pragma once

#include "kernels/row_format.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kBlockRows = 4;  // of a register block

// One float32 factor an element.
struct FloatProduct {
  using Operand = Vec::Reg;
  static constexpr std::size_t kFactors = 1;

  static Operand load(const float* from) noexcept { return Vec::load(from); }
  static Operand broadcast(const float* from) noexcept { return Vec::broadcast(*from); }
  static Vec::Reg multiply_add(Operand a, Operand b, Vec::Reg sum) noexcept { return Vec::fma(a, b, sum); }

  // Two rows, for products along the depth (by_depth, `depth_pitch` elements a row) and for products along the rows
  // (by_row, `depth` elements for every kFactors rows). Float32 needs one copy for both.
  template <class Rows>
  static void pack_rows(const void* row0, const void* row1, std::size_t depth, std::size_t depth_pitch, float* by_depth,
                        float*) noexcept {
    const auto* const from0 = static_cast<const typename Rows::Element*>(row0);
    const auto* const from1 = static_cast<const typename Rows::Element*>(row1);
    for (std::size_t i = 0; i < depth; i += Vec::kLanes) {
      Vec::store(by_depth + i, Rows::load(from0 + i));
      Vec::store(by_depth + depth_pitch + i, Rows::load(from1 + i));
    }
  }

  template <class Rows>
  static constexpr bool kInWords = false;

  // Gradients of kBlockRows rows at kLanes inputs, for products along the inputs and along the rows.
  static void store_gradients(const Vec::Reg (&gradients)[kBlockRows], std::size_t pitch, float* by_input,
                              float*) noexcept {
    for (std::size_t r = 0; r < kBlockRows; ++r) Vec::store(by_input + r * pitch, gradients[r]);
  }

  // Gradients of kBlockRows x kBlockRows pairs, or a register of them, row by row: for products along either side.
  static void store_block(Vec::Reg gradients, float* to) noexcept { Vec::store(to, gradients); }
};

// Rows, or steps of them, that lie one after the other, and such as lie anywhere.
struct RowsInOrder {
  const float* first;
  std::size_t pitch;
  [[gnu::always_inline]] const float* operator[](std::size_t row) const noexcept { return first + row * pitch; }
  [[nodiscard]] RowsInOrder from(std::size_t row) const noexcept { return {first + row * pitch, pitch}; }
};
struct RowsAnywhere {
  void* const* rows;
  [[gnu::always_inline]] const float* operator[](std::size_t row) const noexcept {
    return static_cast<const float*>(rows[row]);
  }
  [[nodiscard]] RowsAnywhere from(std::size_t row) const noexcept { return {rows + row}; }
};

// sums[r][c] += sum over steps of a[step * a_step + r * a_row] * b[step][at + c * kLanes ...].
template <class Product, std::size_t kRows, std::size_t kColumns, class Rows>
[[gnu::always_inline]] inline void accumulate(Vec::Reg (&sums)[kRows * kColumns], const float* a, std::size_t a_step,
                                              std::size_t a_row, const Rows& b, std::size_t at,
                                              std::size_t steps) noexcept {
  for (std::size_t step = 0; step < steps; ++step, a += a_step) {
    const float* const from = b[step] + at;
    typename Product::Operand right[kColumns];
    for (std::size_t c = 0; c < kColumns; ++c) right[c] = Product::load(from + c * Vec::kLanes);
    for (std::size_t r = 0; r < kRows; ++r) {
      const typename Product::Operand left = Product::broadcast(a + r * a_row);
      for (std::size_t c = 0; c < kColumns; ++c) {
        sums[r * kColumns + c] = Product::multiply_add(left, right[c], sums[r * kColumns + c]);
      }
    }
  }
}

// A compile-time number as a function argument.
template <std::size_t kValue>
struct Count {
  static constexpr std::size_t value = kValue;
};

// Calls function(first, Count<n>) for runs of n <= kMost of `vectors` registers, as even as possible.
template <std::size_t kMost, class Function>
[[gnu::always_inline]] inline void for_runs(std::size_t vectors, const Function& function) noexcept {
  static_assert(kMost <= 8);
  std::size_t runs = (vectors + kMost - 1) / kMost;
  for (std::size_t first = 0; first < vectors; --runs) {
    const std::size_t count = (vectors - first + runs - 1) / runs;
    switch (count) {
      case 1: function(first, Count<1>{}); break;
      case 2: function(first, Count<2>{}); break;
      case 3:
        if constexpr (kMost >= 3) function(first, Count<3>{});
        break;
      case 4:
        if constexpr (kMost >= 4) function(first, Count<4>{});
        break;
      case 5:
        if constexpr (kMost >= 5) function(first, Count<5>{});
        break;
      case 6:
        if constexpr (kMost >= 6) function(first, Count<6>{});
        break;
      case 7:
        if constexpr (kMost >= 7) function(first, Count<7>{});
        break;
      default:
        if constexpr (kMost >= 8) function(first, Count<8>{});
        break;
    }
    first += count;
  }
}

// The same with Vec::kTileColumns; where columns come in pairs of registers none is torn apart: only the last register
// may be alone.
template <bool kInPairs, class Function>
[[gnu::always_inline]] inline void for_column_runs(std::size_t vectors, const Function& function) noexcept {
  if constexpr (!kInPairs) {
    for_runs<Vec::kTileColumns>(vectors, function);
  } else {
    const auto by_pairs = [&](std::size_t pair, auto count) __attribute__((always_inline)) {
      constexpr std::size_t kVectors = 2 * decltype(count)::value;
      if (2 * pair + kVectors > vectors) return function(2 * pair, Count<kVectors - 1>{});
      function(2 * pair, Count<kVectors>{});
    };
    for_runs<Vec::kTileColumns / 2>((vectors + 1) / 2, by_pairs);
  }
}

}  // namespace
}  // namespace fastembed
