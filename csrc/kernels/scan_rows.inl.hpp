// Rows of the index against one query, and the squared norms of rows: as fast as memory delivers them.
#pragma once

#include "kernels/prefetch.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kScanGroup = 8;   // rows whose lanes are summed together
constexpr std::size_t kScanChains = 2;  // sums that a row's products take turns in
constexpr std::size_t kLineFloats = 16;

// Lane sums of kRows rows that are read side by side. From the caches, eight share the loads of the query and save a
// third of the time; from memory one at a time is best, since the processor's own prefetchers know a single stream
// best: two to eight reached between a third and two thirds of the bandwidth, on Zen 4.
template <std::size_t kRows, bool kQuery, bool kSquares>
[[gnu::always_inline]] inline void scan_together(const float* rows, std::size_t row_stride, std::size_t depth,
                                                 const float* query, Vec::Reg* products_out,
                                                 Vec::Reg* squares_out) noexcept {
  constexpr std::size_t kStep = Vec::kLanes;
  constexpr std::size_t kChains = kRows == 1 ? kScanChains : 1;
  Vec::Reg products[kChains * kRows], squares[kChains * kRows];
  for (std::size_t c = 0; c < kChains * kRows; ++c) products[c] = squares[c] = Vec::zero();
  const auto add = [&](std::size_t chain, std::size_t i, const auto& load) {
    const Vec::Reg factor = kQuery ? load(query + i) : Vec::zero();
    for (std::size_t r = 0; r < kRows; ++r) {
      Vec::Reg part = load(rows + r * row_stride + i);
      if constexpr (kQuery && kSquares) Vec::keep(part);
      Vec::Reg &product = products[chain * kRows + r], &square = squares[chain * kRows + r];
      if constexpr (kQuery) product = Vec::fma(part, factor, product);
      if constexpr (kSquares) square = Vec::fma(part, part, square);
    }
  };
  const auto load = [](const float* from) { return Vec::load(from); };
  std::size_t i = 0;
  for (; i + kChains * kStep <= depth; i += kChains * kStep) {
    if constexpr (kRows == 1) {
      for (std::size_t line = 0; line < kChains * kStep; line += kLineFloats) read_ahead(rows + i + line);
    }
    for (std::size_t c = 0; c < kChains; ++c) add(c, i + c * kStep, load);
  }
  for (; i + kStep <= depth; i += kStep) add(0, i, load);
  if (i < depth) {
    const std::size_t rest = depth - i;
    add(0, i, [rest](const float* from) { return Vec::load_first(from, rest); });
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    products_out[r] = products[r];
    squares_out[r] = squares[r];
    for (std::size_t c = 1; c < kChains; ++c) {
      products_out[r] = Vec::add(products_out[r], products[c * kRows + r]);
      squares_out[r] = Vec::add(squares_out[r], squares[c * kRows + r]);
    }
  }
}

template <std::size_t kRows, bool kQuery, bool kSquares>
[[gnu::always_inline]] inline void scan_group(const float* rows, std::size_t row_stride, std::size_t depth,
                                              const float* query, float* products_out, float* squares_out) noexcept {
  Vec::Reg products[kScanGroup], squares[kScanGroup];
  for (std::size_t r = 0; r < kScanGroup; r += kRows) {
    scan_together<kRows, kQuery, kSquares>(rows + r * row_stride, row_stride, depth, query, products + r, squares + r);
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

template <std::size_t kRows, bool kQuery, bool kSquares>
[[gnu::always_inline]] inline void scan_all(const float* rows, std::size_t row_stride, std::size_t count,
                                            std::size_t depth, const float* query, float* products,
                                            float* squares) noexcept {
  std::size_t r = 0;
  for (; r + kScanGroup <= count; r += kScanGroup) {
    scan_group<kRows, kQuery, kSquares>(rows + r * row_stride, row_stride, depth, query, products + r, squares + r);
  }
  if (r == count) return;
  // The last rows by a group that ends with them, or that is the same row all over.
  if (count >= kScanGroup) {
    r = count - kScanGroup;
    scan_group<kRows, kQuery, kSquares>(rows + r * row_stride, row_stride, depth, query, products + r, squares + r);
    return;
  }
  for (; r < count; ++r) {
    float product[kScanGroup], square[kScanGroup];
    scan_group<kRows, kQuery, kSquares>(rows + r * row_stride, 0, depth, query, product, square);
    if constexpr (kQuery) products[r] = product[0];
    if constexpr (kSquares) squares[r] = square[0];
  }
}

void scan_rows_f32(const float* rows, std::size_t row_stride, std::size_t count, std::size_t depth, const float* query,
                   bool from_memory, float* products, float* squares) noexcept {
  if (squares != nullptr && from_memory) {
    scan_all<1, true, true>(rows, row_stride, count, depth, query, products, squares);
  } else if (squares != nullptr) {
    scan_all<kScanGroup, true, true>(rows, row_stride, count, depth, query, products, squares);
  } else if (from_memory) {
    scan_all<1, true, false>(rows, row_stride, count, depth, query, products, products);
  } else {
    scan_all<kScanGroup, true, false>(rows, row_stride, count, depth, query, products, products);
  }
}

void squared_norms_f32(const float* rows, std::size_t row_stride, std::size_t count, std::size_t depth,
                       float* squares) noexcept {
  scan_all<1, false, true>(rows, row_stride, count, depth, rows, squares, squares);
}

}  // namespace
}  // namespace fastembed
