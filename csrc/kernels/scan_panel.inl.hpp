// Rows of the index against a panel of queries: a register block of rows by queries over the whole depth, then either
// a comparison with thresholds that keeps the few that reach them, or the store of all.
#pragma once

#include "kernels/prefetch.inl.hpp"
#include "kernels/result_store.inl.hpp"
#include "kernels/tile_product.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kPrefetchSteps = 8;  // of the depth between two prefetches

template <std::size_t kRows, std::size_t kColumns>
[[gnu::always_inline]] inline void panel_step(Vec::Reg (&sums)[kRows * kColumns], const float* rows,
                                              std::size_t row_stride, const float* panel) noexcept {
  Vec::Reg queries[kColumns];
  for (std::size_t c = 0; c < kColumns; ++c) queries[c] = Vec::load(panel + c * Vec::kLanes);
  for (std::size_t r = 0; r < kRows; ++r) {
    const Vec::Reg element = Vec::broadcast(rows[r * row_stride]);
    for (std::size_t c = 0; c < kColumns; ++c) {
      sums[r * kColumns + c] = Vec::fma(element, queries[c], sums[r * kColumns + c]);
    }
  }
}

// sums[r][c] = products of kRows rows with kColumns registers of queries.
template <std::size_t kRows, std::size_t kColumns>
[[gnu::always_inline]] inline void panel_block(Vec::Reg (&sums)[kRows * kColumns], const float* rows,
                                               std::size_t row_stride, const float* panel, std::size_t width,
                                               std::size_t depth, Prefetch& prefetch) noexcept {
#pragma GCC unroll 32
  for (std::size_t i = 0; i < kRows * kColumns; ++i) sums[i] = Vec::zero();
  std::size_t i = 0;
  for (; i + kPrefetchSteps <= depth; i += kPrefetchSteps) {
    prefetch.turn();
#pragma GCC unroll 8
    for (std::size_t step = 0; step < kPrefetchSteps; ++step) {
      panel_step<kRows, kColumns>(sums, rows + i + step, row_stride, panel + (i + step) * width);
    }
  }
  for (; i < depth; ++i) panel_step<kRows, kColumns>(sums, rows + i, row_stride, panel + i * width);
}

template <std::size_t kRows, std::size_t kColumns>
[[gnu::always_inline]] inline PanelHit* keep_hits(const Vec::Reg (&sums)[kRows * kColumns], const PanelScan& scan,
                                                  std::size_t first_row, std::size_t first_query,
                                                  PanelHit* hits) noexcept {
  Vec::Reg thresholds[kColumns];
  for (std::size_t c = 0; c < kColumns; ++c) {
    thresholds[c] = Vec::load(scan.thresholds + first_query + c * Vec::kLanes);
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kRows; ++r) {
    const Vec::Reg factor = Vec::broadcast(scan.row_factors[first_row + r]);
    const Vec::Reg offset = Vec::broadcast(scan.row_offsets[first_row + r]);
#pragma GCC unroll 2
    for (std::size_t c = 0; c < kColumns; ++c) {
      const Vec::Reg sum = sums[r * kColumns + c];
      std::uint32_t reached = Vec::at_least(sum, Vec::fma(factor, thresholds[c], offset));
      if (reached == 0) [[likely]]
        continue;
      float products[Vec::kLanes];
      Vec::store(products, sum);
      for (; reached != 0; reached &= reached - 1) {
        const auto lane = static_cast<std::uint32_t>(__builtin_ctz(reached));
        const auto query = static_cast<std::uint32_t>(first_query + c * Vec::kLanes) + lane;
        *hits++ = {static_cast<std::uint32_t>(first_row + r), query, products[lane]};
      }
    }
  }
  return hits;
}

// Calls strip(first row, Rows) for runs of rows, where Rows::value is one of few compile-time counts.
template <class Strip>
[[gnu::always_inline]] inline void for_strips(std::size_t row_count, const Strip& strip) noexcept {
  constexpr std::size_t kMost = Vec::kScanRows;
  constexpr std::size_t kSome = kMost >= 4 ? kMost / 3 : 1;
  std::size_t row = 0;
  for (; row + kMost <= row_count; row += kMost) strip(row, Count<kMost>{});
  for (; row + kSome <= row_count; row += kSome) strip(row, Count<kSome>{});
  for (; row < row_count; ++row) strip(row, Count<1>{});
}

template <std::size_t kColumns>
[[gnu::always_inline]] inline PanelHit* scan_columns(const PanelScan& scan, std::size_t first_query, std::size_t strips,
                                                     Prefetch& prefetch, PanelHit* hits) noexcept {
  const std::size_t lines = (static_cast<std::size_t>(prefetch.end - prefetch.next) / 64 + strips - 1) / strips;
  const std::size_t turns = scan.depth / kPrefetchSteps;
  prefetch.lines_a_turn = turns == 0 ? 0 : (lines + turns - 1) / turns;
  for_strips(scan.row_count, [&](std::size_t row, auto rows) {
    constexpr std::size_t kRows = decltype(rows)::value;
    Vec::Reg sums[kRows * kColumns];
    panel_block<kRows, kColumns>(sums, scan.rows + row * scan.row_stride, scan.row_stride, scan.panel + first_query,
                                 scan.width, scan.depth, prefetch);
    hits = keep_hits<kRows, kColumns>(sums, scan, row, first_query, hits);
  });
  return hits;
}

std::uint32_t scan_panel_f32(const PanelScan& scan) noexcept {
  constexpr std::size_t kWide = kScanColumns * Vec::kLanes;
  PanelHit* hits = scan.hits;
  Prefetch prefetch{scan.prefetch, scan.prefetch + std::size_t{64} * scan.prefetch_lines, 0};
  const std::size_t strips = (scan.row_count + Vec::kScanRows - 1) / Vec::kScanRows;
  std::size_t query = 0;
  for (; query + kWide <= scan.width; query += kWide) {
    hits = scan_columns<kScanColumns>(scan, query, strips * (scan.width / kWide), prefetch, hits);
  }
  for (; query < scan.width; query += Vec::kLanes) hits = scan_columns<1>(scan, query, strips, prefetch, hits);
  return static_cast<std::uint32_t>(hits - scan.hits);
}

template <std::size_t kRows, std::size_t kColumns>
[[gnu::always_inline]] inline void store_block(const Vec::Reg (&sums)[kRows * kColumns], const PanelProduct& step,
                                               std::size_t first_row, std::size_t first_column) noexcept {
  const std::size_t columns = step.columns - first_column;
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kRows; ++r) {
    const Vec::Reg row_factor = Vec::broadcast(step.row_factors[first_row + r]);
    float* const out = step.out + (first_row + r) * step.out_stride + first_column;
#pragma GCC unroll 2
    for (std::size_t c = 0; c < kColumns; ++c) {
      const std::size_t at = c * Vec::kLanes;
      const Vec::Reg sum = sums[r * kColumns + c];
      const Vec::Reg column_factor = Vec::load(step.column_factors + first_column + at);
      const Vec::Reg result =
          step.squared_distance != 0
              ? Vec::max(Vec::zero(), Vec::fma(Vec::broadcast(-2.0F), sum, Vec::add(row_factor, column_factor)))
              : Vec::mul(Vec::mul(sum, row_factor), column_factor);
      if (at + Vec::kLanes <= columns) {
        store_result(out + at, result, step.stream);
      } else if (at < columns) {
        float rest[Vec::kLanes];
        Vec::store(rest, result);
        for (std::size_t i = 0; at + i < columns; ++i) out[at + i] = rest[i];
      }
    }
  }
}

template <std::size_t kColumns>
[[gnu::always_inline]] inline void multiply_columns(const PanelProduct& step, std::size_t first_column) noexcept {
  Prefetch prefetch{nullptr, nullptr, 0};
  for_strips(step.row_count, [&](std::size_t row, auto rows) {
    constexpr std::size_t kRows = decltype(rows)::value;
    for (std::size_t r = 0; r < kRows && step.stream == 0; ++r) {
      float* const out = step.out + (row + r) * step.out_stride + first_column;
      __builtin_prefetch(out, 1, 2);
      if (kColumns * Vec::kLanes > 16 && first_column + 16 < step.columns) __builtin_prefetch(out + 16, 1, 2);
    }
    Vec::Reg sums[kRows * kColumns];
    panel_block<kRows, kColumns>(sums, step.rows + row * step.row_stride, step.row_stride, step.panel + first_column,
                                 step.width, step.depth, prefetch);
    store_block<kRows, kColumns>(sums, step, row, first_column);
  });
}

void multiply_panel_f32(const PanelProduct& step) noexcept {
  constexpr std::size_t kWide = kScanColumns * Vec::kLanes;
  std::size_t column = 0;
  // Not where one register is enough for the columns that are left.
  for (; column + kWide <= step.width && column + Vec::kLanes < step.columns; column += kWide) {
    multiply_columns<kScanColumns>(step, column);
  }
  for (; column < step.columns; column += Vec::kLanes) multiply_columns<1>(step, column);
  if (step.stream != 0) Vec::end_stream();
}

// Vec::kLanes rows from `first` on, as far as there are any, into their columns of a panel.
[[gnu::always_inline]] inline void pack_lanes(const float* rows, std::size_t row_stride, std::size_t count,
                                              std::size_t depth, const float* factors, std::size_t width,
                                              float* out) noexcept {
  constexpr std::size_t kBlock = Vec::kLanes;
  Vec::Reg block[kBlock];
  for (std::size_t i = 0; i < depth; i += kBlock) {
    const std::size_t filled = depth - i < kBlock ? depth - i : kBlock;
    for (std::size_t j = 0; j < kBlock; ++j) {
      block[j] = Vec::zero();
      if (j >= count) continue;
      const float* const from = rows + j * row_stride + i;
      block[j] = filled == kBlock ? Vec::load(from) : Vec::load_first(from, filled);
      block[j] = Vec::mul(block[j], Vec::broadcast(factors[j]));
    }
    Vec::transpose(block);
    for (std::size_t j = 0; j < filled; ++j) Vec::store(out + (i + j) * width, block[j]);
  }
}

void pack_panel_f32(const float* rows, std::size_t row_stride, std::size_t count, std::size_t depth,
                    const float* factors, std::size_t width, float* out) noexcept {
  for (std::size_t first = 0; first < width; first += Vec::kLanes) {
    const std::size_t left = first < count ? count - first : 0;
    pack_lanes(left == 0 ? rows : rows + first * row_stride, row_stride, left, depth, factors + (left == 0 ? 0 : first),
               width, out + first);
  }
}

}  // namespace
}  // namespace fastembed
