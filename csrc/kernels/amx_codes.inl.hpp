// The scan over codes on matrix tiles of 16 x 16 sums: rows are on the left, 64 bytes of the depth at a time as they
// lie in memory, queries on the right, packed as ByteProduct or Bf16Pairs does. Two tiles of rows against one or two of
// queries; thresholds are met while the next products run. MatrixUnit comes from simd/.
#pragma once

#include "kernels/bf16_pairs.inl.hpp"
#include "kernels/stored_sums.inl.hpp"
#include "kernels/tile_product.inl.hpp"
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

template <class Product>
void scan_matrix_codes(const CodeScan& scan, KeptHits& kept) noexcept;
template <class Product>
void scan_matrix_codes(const CodeScan& scan, KeptGreatest& kept) noexcept;

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

// The sums of a tile of rows and one of queries, as they are stored: a row of them after the other.
constexpr std::size_t kMatrixSums = kMatrixSide * kMatrixSide;

// What is to be done with a stored tile of sums.
template <class Lanes, class Taker>
[[gnu::always_inline]] inline void take_tile(const std::int32_t* from, const CodeScan& scan,
                                             const typename Taker::template Terms<Lanes>& terms, std::size_t row,
                                             std::size_t query, Taker& taker) noexcept {
  taker.template take<Lanes>(from, scan, terms, row, query);
  taker.template take<Lanes>(from + kCodeGroup * kMatrixSide, scan, terms, row + kCodeGroup, query);
}

// One step of the depth, of one or two tiles of rows. Registers: sums in 0..3, rows in 4 and 5, queries in 6 and 7. In
// the first step sums begin, and those of the rows before are stored, one after the other: a register that waits to be
// stored holds up no product but its own.
template <class Product, std::size_t kColumns, std::size_t kTiles, bool kIsFirst>
[[gnu::always_inline]] inline void matrix_step(const std::uint8_t* rows, std::size_t row_stride,
                                               const std::uint8_t* queries, std::size_t pitch,
                                               std::int32_t* before) noexcept {
  const auto begin = [&](auto tile) __attribute__((always_inline)) {
    if constexpr (kIsFirst) {
      constexpr int kTile = decltype(tile)::value;
      MatrixUnit::store_bytes<kTile>(before + kTile * kMatrixSums, kMatrixDepth);
      MatrixUnit::zero<kTile>();
    }
  };
  MatrixUnit::load_bytes<4>(rows, row_stride);
  MatrixUnit::load_bytes<6>(queries, pitch);
  begin(Count<0>{});
  Product::template multiply_add<0, 4, 6>();
  if constexpr (kColumns > 1) {
    MatrixUnit::load_bytes<7>(queries + 4 * kMatrixSide, pitch);
    begin(Count<1>{});
    Product::template multiply_add<1, 4, 7>();
  }
  if constexpr (kTiles > 1) {
    MatrixUnit::load_bytes<5>(rows + kMatrixSide * row_stride, row_stride);
    begin(Count<2>{});
    Product::template multiply_add<2, 5, 6>();
    if constexpr (kColumns > 1) {
      begin(Count<3>{});
      Product::template multiply_add<3, 5, 7>();
    }
  }
}

// The last bytes of a strip's rows, where what lies behind them must not be read.
template <class Product, std::size_t kColumns>
[[gnu::noinline]] void matrix_rest(const std::uint8_t* rows, std::size_t row_stride, std::size_t begin, std::size_t end,
                                   const std::uint8_t* queries, std::size_t pitch, std::int32_t* before) noexcept {
  alignas(64) std::uint8_t rest[kMatrixStrip * kMatrixDepth] = {};
  for (std::size_t r = 0; r < kMatrixStrip; ++r) {
    for (std::size_t i = begin; i < end; i += 4) {
      __builtin_memcpy(rest + r * kMatrixDepth + i - begin, rows + r * row_stride + i, 4);
    }
  }
  if (begin == 0) {
    matrix_step<Product, kColumns, 2, true>(rest, kMatrixDepth, queries, pitch, before);
  } else {
    matrix_step<Product, kColumns, 2, false>(rest, kMatrixDepth, queries, pitch, before);
  }
}

template <std::size_t kColumns, std::size_t kTiles>
inline void store_strip(std::int32_t* to) noexcept {
  MatrixUnit::store_bytes<0>(to, kMatrixDepth);
  if constexpr (kColumns > 1) MatrixUnit::store_bytes<1>(to + kMatrixSums, kMatrixDepth);
  if constexpr (kTiles == 1) return;
  MatrixUnit::store_bytes<2>(to + 2 * kMatrixSums, kMatrixDepth);
  if constexpr (kColumns > 1) MatrixUnit::store_bytes<3>(to + 3 * kMatrixSums, kMatrixDepth);
}

// Strips of rows as they lie in memory; others are made meanwhile.
class StripsInPlace {
 public:
  static constexpr std::size_t kTiles = 2;
  explicit StripsInPlace(const CodeScan& scan) noexcept : rows_(scan.rows), stride_(scan.row_stride) {}
  [[gnu::always_inline]] [[nodiscard]] const std::uint8_t* at(std::size_t row) const noexcept {
    return rows_ + row * stride_;
  }
  [[gnu::always_inline]] [[nodiscard]] std::size_t stride() const noexcept { return stride_; }
  [[gnu::always_inline]] void turn() noexcept {}

 private:
  const std::uint8_t* rows_;
  std::size_t stride_;
};

// All whole strips against kColumns tiles of queries; the rows left over by four bytes at a time. The sums of a strip
// are stored while the next one begins and meet their thresholds between its products: the tile unit and the vector
// units then work at once.
template <class Product, std::size_t kColumns, class Strips, class Taker>
inline void scan_matrix_columns(const CodeScan& given, std::size_t query, Strips given_strips, std::size_t count,
                                PiecePrefetch& ahead, Taker& given_taker) noexcept {
  using Lanes = typename Product::Lanes;
  alignas(64) std::int32_t stored[4 * kMatrixSums];
  const CodeScan scan = given;  // in registers: what is stored does not change it
  Strips strips = given_strips;
  PiecePrefetch prefetch = ahead;
  Taker taker = given_taker;
  const std::size_t row_stride = strips.stride();
  constexpr std::size_t kTiles = Strips::kTiles, kRows = kTiles * kMatrixSide;
  const std::size_t all = scan.row_count / kRows * kRows;
  const std::size_t pitch = std::size_t{4} * scan.width, end = scan.depth * Product::kElementBytes;
  const std::size_t whole = Product::kReadsBehind ? end : end / kMatrixDepth * kMatrixDepth;
  using Terms = typename Taker::template Terms<Lanes>;
  const Terms terms(scan, query);
  const Terms right_terms(scan, kColumns > 1 ? query + kMatrixSide : query);
  const auto take = [&](std::size_t row) __attribute__((always_inline)) {
    take_tile<Lanes, Taker>(stored, scan, terms, row, query, taker);
    if constexpr (kColumns > 1) {
      take_tile<Lanes, Taker>(stored + kMatrixSums, scan, right_terms, row, query + kMatrixSide, taker);
    }
    if constexpr (kTiles == 1) return;
    take_tile<Lanes, Taker>(stored + 2 * kMatrixSums, scan, terms, row + kMatrixSide, query, taker);
    if constexpr (kColumns > 1) {
      take_tile<Lanes, Taker>(stored + 3 * kMatrixSums, scan, right_terms, row + kMatrixSide, query + kMatrixSide,
                              taker);
    }
  };
  spread_prefetch<Product>(scan, count, prefetch);
  const auto turn = [&]() __attribute__((always_inline)) {
    prefetch.turn();
    strips.turn();
  };
  for (std::size_t row = 0; row < all; row += kRows) {
    const std::uint8_t* const rows = strips.at(row);
    const auto* queries = static_cast<const std::uint8_t*>(scan.panel) + 4 * query;
    std::size_t i = 0;
    if (whole != 0) {
      turn();
      matrix_step<Product, kColumns, kTiles, true>(rows, row_stride, queries, pitch, stored);
      i += kMatrixDepth;
    }
    if (i < whole) {
      turn();
      matrix_step<Product, kColumns, kTiles, false>(rows + i, row_stride, queries + i / 4 * pitch, pitch, nullptr);
      i += kMatrixDepth;
    }
    if (i >= whole && i < end) {
      matrix_rest<Product, kColumns>(rows, row_stride, i, end, queries + i / 4 * pitch, pitch, stored);
    }
    if (row != 0) take(row - kRows);
    if (i >= whole) continue;
    for (; i < whole; i += kMatrixDepth) {
      turn();
      matrix_step<Product, kColumns, kTiles, false>(rows + i, row_stride, queries + i / 4 * pitch, pitch, nullptr);
    }
    if (i < end) matrix_rest<Product, kColumns>(rows, row_stride, i, end, queries + i / 4 * pitch, pitch, stored);
  }
  if (all != 0) {
    store_strip<kColumns, kTiles>(stored);
    take(all - kRows);
  }
  given_taker = taker;
  ahead = prefetch;
}

// A tile of rows, `kStep` tiles' depth in.
template <std::size_t kStep>
[[gnu::always_inline]] inline void load_short(const std::uint8_t* rows, std::size_t row_stride) noexcept {
  MatrixUnit::load_bytes<2 + kStep>(rows + kStep * kMatrixDepth, row_stride);
}

// Rows of at most two tiles' depth against two tiles of queries, which stay in registers: queries in 4 and 5, further
// down in 6 and 7, 16 rows in 2 and 3, sums in 0 and 1. A register of rows is loaded again as soon as its last product
// has been issued: registers are not renamed, and loads run under the products of the other one.
template <class Product, std::size_t kSteps, class Taker>
inline void scan_matrix_short(const CodeScan& given, PiecePrefetch& ahead, Taker& given_taker) noexcept {
  using Lanes = typename Product::Lanes;
  using Terms = typename Taker::template Terms<Lanes>;
  const std::size_t tiles = given.row_count / kMatrixSide;
  if (tiles == 0) return;
  alignas(64) std::int32_t stored[2][2 * kMatrixSums];
  const CodeScan scan = given;  // in registers: what is stored does not change it
  PiecePrefetch prefetch = ahead;
  Taker taker = given_taker;
  const std::size_t pitch = std::size_t{4} * scan.width, row_stride = scan.row_stride;
  const auto* const queries = static_cast<const std::uint8_t*>(scan.panel);
  const Terms terms(scan, 0), right_terms(scan, kMatrixSide);
  spread_prefetch<Product>(scan, tiles, prefetch);
  MatrixUnit::load_bytes<4>(queries, pitch);
  MatrixUnit::load_bytes<5>(queries + 4 * kMatrixSide, pitch);
  if constexpr (kSteps > 1) {
    MatrixUnit::load_bytes<6>(queries + kMatrixSide * pitch, pitch);
    MatrixUnit::load_bytes<7>(queries + kMatrixSide * pitch + 4 * kMatrixSide, pitch);
  }
  const std::uint8_t* rows = scan.rows;
  const std::uint8_t* const last = rows + (tiles - 1) * kMatrixSide * row_stride;
  std::int32_t* from = stored[0];
  std::int32_t* to = stored[1];
  load_short<0>(rows, row_stride);
  if constexpr (kSteps > 1) load_short<1>(rows, row_stride);
  MatrixUnit::zero<0>();
  MatrixUnit::zero<1>();
  for (std::size_t row = 0; row < tiles * kMatrixSide; row += kMatrixSide) {
    // Behind the last rows come these once more, for nothing.
    rows = rows == last ? last : rows + kMatrixSide * row_stride;
    Product::template multiply_add<0, 2, 4>();
    Product::template multiply_add<1, 2, 5>();
    load_short<0>(rows, row_stride);
    prefetch.turn();
    if (row != 0) take_tile<Lanes, Taker>(from, scan, terms, row - kMatrixSide, 0, taker);
    if constexpr (kSteps > 1) {
      Product::template multiply_add<0, 3, 6>();
      Product::template multiply_add<1, 3, 7>();
      load_short<1>(rows, row_stride);
      prefetch.turn();
    }
    MatrixUnit::store_bytes<0>(to, kMatrixDepth);
    MatrixUnit::zero<0>();
    if (row != 0) {
      take_tile<Lanes, Taker>(from + kMatrixSums, scan, right_terms, row - kMatrixSide, kMatrixSide, taker);
    }
    MatrixUnit::store_bytes<1>(to + kMatrixSums, kMatrixDepth);
    MatrixUnit::zero<1>();
    std::int32_t* const taken = from;
    from = to;
    to = taken;
  }
  const std::size_t last_row = (tiles - 1) * kMatrixSide;
  take_tile<Lanes, Taker>(from, scan, terms, last_row, 0, taker);
  take_tile<Lanes, Taker>(from + kMatrixSums, scan, right_terms, last_row, kMatrixSide, taker);
  given_taker = taker;
  ahead = prefetch;
}

// All rows in whole tiles, of which it returns the number.
template <class Product, class Taker>
std::size_t scan_matrix_rows(const CodeScan& scan, PiecePrefetch& prefetch, Taker& taker) noexcept {
  const std::size_t strips = scan.row_count / kMatrixStrip + 1, bytes = scan.depth * Product::kElementBytes;
  const MatrixUnit unit;
  if (scan.width < 2 * kMatrixSide) {
    scan_matrix_columns<Product, 1>(scan, 0, StripsInPlace(scan), strips, prefetch, taker);
  } else if (bytes > 2 * kMatrixDepth || (!Product::kReadsBehind && bytes % kMatrixDepth != 0)) {
    scan_matrix_columns<Product, 2>(scan, 0, StripsInPlace(scan), strips, prefetch, taker);
  } else {
    if (bytes <= kMatrixDepth) {
      scan_matrix_short<Product, 1>(scan, prefetch, taker);
    } else {
      scan_matrix_short<Product, 2>(scan, prefetch, taker);
    }
    return scan.row_count / kMatrixSide * kMatrixSide;
  }
  return scan.row_count / kMatrixStrip * kMatrixStrip;
}

// Rows that fill no tile, by four bytes at a time.
template <class Product, class Kept>
[[gnu::noinline]] void scan_matrix_rest(const CodeScan& scan, std::size_t row, PiecePrefetch& prefetch,
                                        Kept& kept) noexcept {
  if (scan.width == kMatrixSide) {
    scan_code_strips<typename Product::Rest, 1>(scan, row, 0, prefetch, kept);
  } else {
    scan_code_strips<typename Product::Rest, 2>(scan, row, 0, prefetch, kept);
  }
}

template <class Product, class Taker>
void scan_matrix_hits(const CodeScan& scan, KeptHits& kept) noexcept {
  PiecePrefetch prefetch = ahead_of(scan);
  Taker taker{kept.words};
  const std::size_t row = scan_matrix_rows<Product>(scan, prefetch, taker);
  kept.words = taker.words;
  if (row != scan.row_count) scan_matrix_rest<Product>(scan, row, prefetch, kept);
}

template <class Product>
void scan_matrix_codes(const CodeScan& scan, KeptHits& kept) noexcept {
  static_assert(kMatrixSide == Vec::kLanes && kScanColumns == 2 && kPanelQueries == 2 * kMatrixSide);
  if (scan.row_terms != nullptr) {
    scan_matrix_hits<Product, StoredHitsByRow>(scan, kept);
  } else {
    scan_matrix_hits<Product, StoredHits>(scan, kept);
  }
}

template <class Product>
void scan_matrix_codes(const CodeScan& scan, KeptGreatest& kept) noexcept {
  PiecePrefetch prefetch = ahead_of(scan);
  StoredGreatest taker{kept};
  const std::size_t row = scan_matrix_rows<Product>(scan, prefetch, taker);
  if (row != scan.row_count) scan_matrix_rest<Product>(scan, row, prefetch, kept);
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
