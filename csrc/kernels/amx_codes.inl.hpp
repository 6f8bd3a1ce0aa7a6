// The scan over codes on matrix tiles of 16 x 16 sums: rows are on the left, 64 bytes of the depth at a time as they
// lie in memory, queries on the right, packed as ByteProduct or Bf16Pairs does. Two tiles of rows against one or two of
// queries; thresholds are met while the next products run. MatrixUnit comes from simd/.
#pragma once

#include "kernels/bf16_pairs.inl.hpp"
#include "kernels/vnni_product.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kMatrixSide = 16;                // rows and columns of sums
constexpr std::size_t kMatrixDepth = 64;               // bytes in a row of a tile
constexpr std::size_t kMatrixStrip = 2 * kMatrixSide;  // rows of the index at once

// What stands in for a Product of four bytes: the same packing, and zeros up to whole tiles.
template <class Product>
struct MatrixProduct : Product {
  using Rest = Product;  // for rows that fill no strip
  static constexpr std::size_t kRows = kMatrixStrip;
  static constexpr std::size_t kElementBytes = 4 / Product::kElements;
  static constexpr std::size_t kPrefetchDepth = kMatrixDepth / kElementBytes;

  template <class Panel>
  static void pack(const Panel& step) noexcept {
    Product::pack(step);
    const std::size_t row = std::size_t{step.depth} * kElementBytes;
    const std::size_t packed = row * step.width;
    const std::size_t wanted = (row + kMatrixDepth - 1) / kMatrixDepth * kMatrixDepth * step.width;
    __builtin_memset(static_cast<std::int8_t*>(step.panel) + packed, 0, wanted - packed);
  }
};

template <class Product, class Kept>
void scan_matrix_codes(const CodeScan& scan, Kept& kept) noexcept;

struct MatrixByteProduct : MatrixProduct<ByteProduct> {
  template <class Kept>
  static void scan_all(const CodeScan& scan, Kept& kept) noexcept {
    scan_matrix_codes<MatrixByteProduct>(scan, kept);
  }
  // Bytes behind a row, times zeros, count for nothing.
  static constexpr bool kReadsBehind = true;
  template <int kSum, int kLeft, int kRight>
  [[gnu::always_inline]] static void multiply_add() noexcept {
    MatrixUnit::multiply_add_bytes<kSum, kLeft, kRight>();
  }
};

struct MatrixBf16Product : MatrixProduct<Bf16Pairs> {
  template <class Kept>
  static void scan_all(const CodeScan& scan, Kept& kept) noexcept {
    scan_matrix_codes<MatrixBf16Product>(scan, kept);
  }
  // What lies behind a row may be NaN, times zero too.
  static constexpr bool kReadsBehind = false;
  template <int kSum, int kLeft, int kRight>
  [[gnu::always_inline]] static void multiply_add() noexcept {
    MatrixUnit::multiply_add<kSum, kLeft, kRight>();
  }
};

// One step of the depth. Registers: sums in 0..3, rows in 4 and 5, queries in 6 and 7.
template <class Product, std::size_t kColumns>
[[gnu::always_inline]] inline void matrix_step(const std::uint8_t* rows, std::size_t row_stride,
                                               const std::uint8_t* queries, std::size_t pitch) noexcept {
  MatrixUnit::load_bytes<4>(rows, row_stride);
  MatrixUnit::load_bytes<6>(queries, pitch);
  Product::template multiply_add<0, 4, 6>();
  if constexpr (kColumns > 1) {
    MatrixUnit::load_bytes<7>(queries + 4 * kMatrixSide, pitch);
    Product::template multiply_add<1, 4, 7>();
  }
  MatrixUnit::load_bytes<5>(rows + kMatrixSide * row_stride, row_stride);
  Product::template multiply_add<2, 5, 6>();
  if constexpr (kColumns > 1) Product::template multiply_add<3, 5, 7>();
}

// Sums of kMatrixStrip rows and kColumns tiles of queries, before they are stored.
template <class Product, std::size_t kColumns>
inline void multiply_codes(const CodeScan& scan, std::size_t row, std::size_t query, PiecePrefetch& prefetch) noexcept {
  const std::int32_t* const corrections = scan.corrections + query;
  MatrixUnit::load_bytes<0>(corrections, 0);  // one row sixteen times
  MatrixUnit::load_bytes<2>(corrections, 0);
  if constexpr (kColumns > 1) {
    MatrixUnit::load_bytes<1>(corrections + kMatrixSide, 0);
    MatrixUnit::load_bytes<3>(corrections + kMatrixSide, 0);
  }
  const std::uint8_t* const rows = scan.rows + row * scan.row_stride;
  const std::size_t pitch = std::size_t{4} * scan.width;
  const auto* queries = static_cast<const std::uint8_t*>(scan.panel) + 4 * query;
  const std::size_t end = scan.depth * Product::kElementBytes;
  const std::size_t whole = Product::kReadsBehind ? end : end / kMatrixDepth * kMatrixDepth;
  for (std::size_t i = 0; i < whole; i += kMatrixDepth, queries += kMatrixSide * pitch) {
    prefetch.turn();
    matrix_step<Product, kColumns>(rows + i, scan.row_stride, queries, pitch);
  }
  if (whole >= end) return;
  alignas(64) std::uint8_t rest[kMatrixStrip * kMatrixDepth] = {};
  for (std::size_t r = 0; r < kMatrixStrip; ++r) {
    for (std::size_t i = whole; i < end; i += 4) {
      __builtin_memcpy(rest + r * kMatrixDepth + i - whole, rows + r * scan.row_stride + i, 4);
    }
  }
  matrix_step<Product, kColumns>(rest, kMatrixDepth, queries, pitch);
}

template <std::size_t kColumns>
inline void store_codes_sums(std::int32_t* to) noexcept {
  constexpr std::size_t kPitch = kColumns * kMatrixSide;
  MatrixUnit::store_bytes<0>(to, kPitch * sizeof(*to));
  MatrixUnit::store_bytes<2>(to + kMatrixSide * kPitch, kPitch * sizeof(*to));
  if constexpr (kColumns > 1) {
    MatrixUnit::store_bytes<1>(to + kMatrixSide, kPitch * sizeof(*to));
    MatrixUnit::store_bytes<3>(to + kMatrixSide * kPitch + kMatrixSide, kPitch * sizeof(*to));
  }
}

// Stored sums of a strip, a group of rows after the other.
template <class Lanes, std::size_t kColumns, class Kept>
inline void take_strip(const std::int32_t* from, const CodeScan& scan, std::size_t row, std::size_t query,
                       Kept& kept) noexcept {
  for (std::size_t first = 0; first < kMatrixStrip; first += kCodeGroup) {
    typename Lanes::Reg sums[kCodeGroup * kColumns];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kCodeGroup * kColumns; ++i) {
      sums[i] = Lanes::load(from + (first * kColumns + i) * kMatrixSide);
    }
    kept.template take<kCodeGroup, kColumns, Lanes>(sums, scan, row + first, query);
  }
}

// All whole strips against kColumns tiles of queries; the rows left over by four bytes at a time. The sums of a strip
// wait in memory until the next strip's products have been issued: the tile unit and the vector units then work at
// once.
template <class Product, std::size_t kColumns, class Kept>
inline void scan_matrix_columns(const CodeScan& scan, std::size_t query, std::size_t strips, PiecePrefetch& prefetch,
                                Kept& kept) noexcept {
  using Lanes = typename Product::Lanes;
  alignas(64) std::int32_t stored[2][kMatrixStrip * kColumns * kMatrixSide];
  const std::size_t whole = scan.row_count / kMatrixStrip * kMatrixStrip;
  spread_prefetch<Product>(scan, strips, prefetch);
  for (std::size_t row = 0; row < whole; row += kMatrixStrip) {
    multiply_codes<Product, kColumns>(scan, row, query, prefetch);
    const std::size_t turn = row / kMatrixStrip % 2;
    if (row != 0) take_strip<Lanes, kColumns>(stored[1 - turn], scan, row - kMatrixStrip, query, kept);
    store_codes_sums<kColumns>(stored[turn]);
  }
  if (whole != 0) {
    const std::size_t last = whole - kMatrixStrip;
    take_strip<Lanes, kColumns>(stored[last / kMatrixStrip % 2], scan, last, query, kept);
  }
  scan_code_strips<typename Product::Rest, kColumns>(scan, whole, query, prefetch, kept);
}

template <class Product, class Kept>
void scan_matrix_codes(const CodeScan& scan, Kept& kept) noexcept {
  static_assert(kMatrixSide == Vec::kLanes && kScanColumns == 2);
  PiecePrefetch prefetch = ahead_of(scan);
  const std::size_t strips = scan.row_count / kMatrixStrip + 1;
  const MatrixUnit unit;
  std::size_t query = 0;
  for (; query + 2 * kMatrixSide <= scan.width; query += 2 * kMatrixSide) {
    scan_matrix_columns<Product, 2>(scan, query, strips * (scan.width / (2 * kMatrixSide)), prefetch, kept);
  }
  for (; query < scan.width; query += kMatrixSide) scan_matrix_columns<Product, 1>(scan, query, strips, prefetch, kept);
}

// Twelve products a round in four sums.
double amx_code_peak(std::size_t rounds, std::int32_t* sink) noexcept {
  const MatrixUnit unit;
  MatrixUnit::load_bytes<0>(sink, 0);
  MatrixUnit::load_bytes<1>(sink, 0);
  MatrixUnit::load_bytes<2>(sink, 0);
  MatrixUnit::load_bytes<3>(sink, 0);
  MatrixUnit::load_bytes<4>(sink, 0);
  MatrixUnit::load_bytes<6>(sink + kMatrixSide, 0);
  for (std::size_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < 3; ++i) {
      MatrixUnit::multiply_add_bytes<0, 4, 6>();
      MatrixUnit::multiply_add_bytes<1, 4, 6>();
      MatrixUnit::multiply_add_bytes<2, 4, 6>();
      MatrixUnit::multiply_add_bytes<3, 4, 6>();
    }
  }
  alignas(64) std::int32_t sums[kMatrixSide * kMatrixSide];
  MatrixUnit::store_bytes<0>(sums, kMatrixDepth);
  CodeLanes::store(sink, CodeLanes::load(sums));
  return 2.0 * static_cast<double>(rounds) * 12.0 * kMatrixSide * kMatrixSide * kMatrixDepth;
}

}  // namespace
}  // namespace fastembed
