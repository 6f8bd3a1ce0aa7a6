// Rows of the index against one query, and the squared norms of rows: as fast as memory delivers them.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kScanGroup = 8;   // rows whose lanes are summed together
constexpr std::size_t kScanChains = 2;  // sums that a row's products take turns in

// Lane sums of one row. Row by row, since the processor's own prefetchers know a single stream best: two to eight rows
// side by side reached between a third and two thirds of the bandwidth of memory, on Zen 4.
template <bool kQuery, bool kSquares>
[[gnu::always_inline]] inline void scan_row(const float* row, std::size_t depth, const float* query, Vec::Reg& product,
                                            Vec::Reg& square) noexcept {
  constexpr std::size_t kStep = Vec::kLanes;
  Vec::Reg products[kScanChains], squares[kScanChains];
  for (std::size_t c = 0; c < kScanChains; ++c) products[c] = squares[c] = Vec::zero();
  const auto add = [&](std::size_t c, Vec::Reg part, Vec::Reg query_part) {
    if constexpr (kQuery) products[c] = Vec::fma(part, query_part, products[c]);
    if constexpr (kSquares) squares[c] = Vec::fma(part, part, squares[c]);
  };
  const auto query_at = [&](std::size_t i) { return kQuery ? Vec::load(query + i) : Vec::zero(); };
  std::size_t i = 0;
  for (; i + kScanChains * kStep <= depth; i += kScanChains * kStep) {
    for (std::size_t c = 0; c < kScanChains; ++c) add(c, Vec::load(row + i + c * kStep), query_at(i + c * kStep));
  }
  for (; i + kStep <= depth; i += kStep) add(0, Vec::load(row + i), query_at(i));
  if (i < depth) {
    add(0, Vec::load_first(row + i, depth - i), kQuery ? Vec::load_first(query + i, depth - i) : Vec::zero());
  }
  product = products[0];
  square = squares[0];
  for (std::size_t c = 1; c < kScanChains; ++c) {
    product = Vec::add(product, products[c]);
    square = Vec::add(square, squares[c]);
  }
}

template <bool kQuery, bool kSquares>
[[gnu::always_inline]] inline void scan_group(const float* rows, std::size_t row_stride, std::size_t depth,
                                              const float* query, float* products_out, float* squares_out) noexcept {
  Vec::Reg products[kScanGroup], squares[kScanGroup];
  for (std::size_t r = 0; r < kScanGroup; ++r) {
    scan_row<kQuery, kSquares>(rows + r * row_stride, depth, query, products[r], squares[r]);
  }
  float sums[kScanGroup + Vec::kLanes];
  if constexpr (kQuery) {
    Vec::store_sums(products, sums);
    for (std::size_t r = 0; r < kScanGroup; ++r) products_out[r] = sums[r];
  }
  if constexpr (kSquares) {
    Vec::store_sums(squares, sums);
    for (std::size_t r = 0; r < kScanGroup; ++r) squares_out[r] = sums[r];
  }
}

template <bool kQuery, bool kSquares>
[[gnu::always_inline]] inline void scan_all(const float* rows, std::size_t row_stride, std::size_t count,
                                            std::size_t depth, const float* query, float* products,
                                            float* squares) noexcept {
  std::size_t r = 0;
  for (; r + kScanGroup <= count; r += kScanGroup) {
    scan_group<kQuery, kSquares>(rows + r * row_stride, row_stride, depth, query, products + r, squares + r);
  }
  if (r == count) return;
  // The last rows by a group that ends with them, or that is the same row all over.
  if (count >= kScanGroup) {
    r = count - kScanGroup;
    scan_group<kQuery, kSquares>(rows + r * row_stride, row_stride, depth, query, products + r, squares + r);
    return;
  }
  for (; r < count; ++r) {
    float product[kScanGroup], square[kScanGroup];
    scan_group<kQuery, kSquares>(rows + r * row_stride, 0, depth, query, product, square);
    if constexpr (kQuery) products[r] = product[0];
    if constexpr (kSquares) squares[r] = square[0];
  }
}

void scan_rows_f32(const float* rows, std::size_t row_stride, std::size_t count, std::size_t depth, const float* query,
                   float* products, float* squares) noexcept {
  if (squares != nullptr) {
    scan_all<true, true>(rows, row_stride, count, depth, query, products, squares);
  } else {
    scan_all<true, false>(rows, row_stride, count, depth, query, products, products);
  }
}

void squared_norms_f32(const float* rows, std::size_t row_stride, std::size_t count, std::size_t depth,
                       float* squares) noexcept {
  scan_all<false, true>(rows, row_stride, count, depth, rows, squares, squares);
}

}  // namespace
}  // namespace fastembed
