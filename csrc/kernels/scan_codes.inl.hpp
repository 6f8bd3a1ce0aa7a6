// Rows of codes against a panel of integer queries: exact products in int32 and a comparison with thresholds that keeps
// the few that reach them. What multiplies is a parameter: pairs of int16 here, bytes in vnni_product.inl.hpp.
#pragma once

#include "kernels/prefetch.inl.hpp"

namespace fastembed {
namespace {

constexpr float kCodeLimit = 0x1p30F;  // that thresholds are brought to; greater than any product

// Products of pairs of int16: codes are widened, a strip of rows at a time, on the way.
struct PairProduct {
  using Lanes = CodeLanes;
  static constexpr std::int32_t kQueryLimit = 4095;
  static constexpr std::size_t kChunk = 256;  // of the depth, widened at once
  static constexpr std::size_t kRows = CodeLanes::kRows;
  static constexpr std::size_t kProducts = 2;  // summed in a lane at once
  using Reg = CodeLanes::Reg;

  [[gnu::always_inline]] static Reg add_products(Reg sum, Reg a, Reg b) noexcept {
    return CodeLanes::add_products(sum, a, b);
  }

  // Element i of query j is at panel[(i / 2) * 2 * width + 2 * j + i % 2].
  static void pack(const CodePanel& step) noexcept {
    auto* const out = static_cast<std::int16_t*>(step.panel);
    for (std::size_t j = 0; j < step.width; ++j) {
      const std::int16_t* const query = step.queries + j * step.depth;
      for (std::size_t i = 0; i < step.depth; ++i) {
        out[(i / 2 * step.width + j) * 2 + i % 2] = j < step.count ? query[i] : std::int16_t{0};
      }
      step.corrections[j] = 0;
    }
  }

  // One query: its elements in order.
  static void pack_single(const CodePanel& step) noexcept {
    auto* const out = static_cast<std::int16_t*>(step.panel);
    for (std::size_t i = 0; i < step.depth; ++i) out[i] = step.queries[i];
    step.corrections[0] = 0;
  }

  static void widen(const std::uint8_t* codes, std::size_t count, std::int16_t* out) noexcept {
    for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::int16_t>(codes[i] - kCodeZero);
  }

  template <std::size_t kStrip, std::size_t kColumns>
  [[gnu::always_inline]] static void multiply(Reg (&sums)[kStrip * kColumns], const std::uint8_t* rows,
                                              std::size_t row_stride, const void* panel, std::size_t first_query,
                                              std::size_t width, std::size_t depth, PiecePrefetch& prefetch) noexcept {
    const std::int16_t* queries = static_cast<const std::int16_t*>(panel) + 2 * first_query;
    std::int16_t wide[kStrip * kChunk];
    for (std::size_t begin = 0; begin < depth; begin += kChunk) {
      const std::size_t count = depth - begin < kChunk ? depth - begin : kChunk;
      for (std::size_t r = 0; r < kStrip; ++r) widen(rows + r * row_stride + begin, count, wide + r * kChunk);
      for (std::size_t i = 0; i < count; i += 2, queries += 2 * width) {
        if (i % 32 == 0) prefetch.turn();
        Reg columns[kColumns];
        for (std::size_t c = 0; c < kColumns; ++c) {
          columns[c] = CodeLanes::load_pairs(queries + c * 2 * static_cast<std::size_t>(Vec::kLanes));
        }
        for (std::size_t r = 0; r < kStrip; ++r) {
          const Reg row = CodeLanes::broadcast_pair(wide + r * kChunk + i);
          for (std::size_t c = 0; c < kColumns; ++c) {
            sums[r * kColumns + c] = CodeLanes::add_products(sums[r * kColumns + c], row, columns[c]);
          }
        }
      }
    }
  }
  static constexpr std::size_t kPrefetchDepth = 32;  // of the depth between two prefetches

  static std::uint32_t dot(const std::uint8_t* row, const void* panel, std::size_t depth) noexcept {
    const auto* const query = static_cast<const std::int16_t*>(panel);
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      sum += static_cast<std::uint32_t>(static_cast<std::int16_t>(row[i] - kCodeZero) * query[i]);
    }
    return sum;
  }
  static void scan_rows(const std::uint8_t* rows, std::size_t row_stride, std::size_t count, std::size_t depth,
                        const void* panel, std::int32_t correction, std::int32_t* products) noexcept {
    for (std::size_t r = 0; r < count; ++r) {
      const std::uint32_t sum = dot(rows + r * row_stride, panel, depth) + static_cast<std::uint32_t>(correction);
      products[r] = static_cast<std::int32_t>(sum);
    }
  }
};

// Sums of float32 where CodeLanes has int32: corrections are zeros, and no threshold is out of range.
struct FloatSums {
  using Reg = Vec::Reg;

  static Reg load(const std::int32_t* from) noexcept {
    float lanes[Vec::kLanes];
    __builtin_memcpy(lanes, from, sizeof(lanes));
    return Vec::load(lanes);
  }
  static Reg add(Reg a, Reg b) noexcept { return Vec::add(a, b); }
  static Reg sub(Reg a, Reg b) noexcept { return Vec::sub(a, b); }
  static Reg max(Reg a, Reg b) noexcept { return Vec::max(a, b); }
  static Vec::Reg to_float(Reg a) noexcept { return a; }
  static std::uint32_t at_least(Reg a, Reg b) noexcept { return Vec::at_least(a, b); }
  static Reg floor_within(Vec::Reg x, float) noexcept { return x; }
};

// Queries of int8 for products of four bytes: element i of query j is at panel[(i / 4) * 4 * width + 4 * j + i % 4].
// Where codes are multiplied as they are, `zero` is theirs, and taken off again: sum (c + zero) q = sum c q + zero sum
// q.
[[maybe_unused]] inline void pack_fours(const CodePanel& step, std::int32_t zero) noexcept {
  auto* const out = static_cast<std::int8_t*>(step.panel);
  for (std::size_t j = 0; j < step.width; ++j) {
    const std::int16_t* const query = step.queries + j * step.depth;
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < step.depth; ++i) {
      const std::int16_t element = j < step.count ? query[i] : std::int16_t{0};
      out[(i / 4 * step.width + j) * 4 + i % 4] = static_cast<std::int8_t>(element);
      sum += element;
    }
    step.corrections[j] = -zero * sum;
  }
}

// One query in two digits, high and low: q = 256 high + low, low in -128 .. 127. First all of the high ones, padded
// with zeros (so that what is read behind a row counts for nothing), then the low ones.
constexpr std::size_t padded_digits(std::size_t depth) noexcept { return (depth + 63) / 64 * 64; }
[[maybe_unused]] inline void pack_digits(const CodePanel& step, std::int32_t zero) noexcept {
  auto* const out = static_cast<std::int8_t*>(step.panel);
  const std::size_t padded = padded_digits(step.depth);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < padded; ++i) {
    const std::int32_t element = i < step.depth ? step.queries[i] : 0;
    const std::int32_t high = (element + 128) >> 8;
    out[i] = static_cast<std::int8_t>(high);
    out[padded + i] = static_cast<std::int8_t>(element - 256 * high);
    sum += static_cast<std::uint32_t>(element);
  }
  step.corrections[0] = static_cast<std::int32_t>(0U - static_cast<std::uint32_t>(zero) * sum);
}

// How far products of one group of rows with a register of queries may be off.
[[gnu::always_inline]] inline Vec::Reg code_slack(const CodeScan& scan, std::size_t group, std::size_t query) noexcept {
  return Vec::fma(Vec::load(scan.slopes + query), Vec::broadcast(scan.lengths[group]),
                  Vec::mul(Vec::load(scan.weights + query), Vec::broadcast(scan.errors[group])));
}

// Thresholds of one group of rows for a register of queries, before they are rounded down.
[[gnu::always_inline]] inline Vec::Reg code_thresholds(const CodeScan& scan, std::size_t group,
                                                       std::size_t query) noexcept {
  return Vec::sub(Vec::mul(Vec::load(scan.keys + query), Vec::broadcast(scan.scales[group])),
                  code_slack(scan, group, query));
}

// Which of kStrip rows reach the thresholds of a register of queries, 64 bits at a time; bit r * Vec::kLanes + lane.
// Kept without a branch, since which do is not to be foretold; words of zeros are written over.
template <std::size_t kStrip, class Reached>
[[gnu::always_inline]] inline CodeHits* keep_code_hits(std::size_t first_row, std::size_t query, CodeHits* words,
                                                       const Reached& reached) noexcept {
  constexpr std::size_t kLanes = Vec::kLanes, kRows = 64 / kLanes < kStrip ? 64 / kLanes : kStrip;
  static_assert(kStrip % kRows == 0 && kRows % 2 == 0);
#pragma GCC unroll 8
  for (std::size_t begin = 0; begin < kStrip; begin += kRows) {
    std::uint64_t bits = 0;
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; r += 2) {
      bits |= std::uint64_t{Vec::pair(reached(begin + r), reached(begin + r + 1))} << (r * kLanes);
    }
    *words = {bits, static_cast<std::uint32_t>(first_row + begin), static_cast<std::uint32_t>(query)};
    words += bits != 0 ? 1 : 0;
  }
  return words;
}

// What takes the products of scan_codes.
struct KeptHits {
  CodeHits* words;

  template <std::size_t kStrip, std::size_t kColumns, class Lanes = CodeLanes>
  [[gnu::always_inline]] void take(const typename Lanes::Reg (&sums)[kStrip * kColumns], const CodeScan& scan,
                                   std::size_t first_row, std::size_t first_query) noexcept {
#pragma GCC unroll 2
    for (std::size_t c = 0; c < kColumns; ++c) {
      const std::size_t query = first_query + c * static_cast<std::size_t>(Vec::kLanes);
      const Vec::Reg wanted = code_thresholds(scan, first_row / kCodeGroup, query);
      if (scan.row_terms == nullptr) {
        const typename Lanes::Reg least = Lanes::floor_within(wanted, kCodeLimit);
        // A comparison with every row takes more than to find their greatest, but a branch that cannot be foretold.
        if (Vec::kLanes < 16 || scan.hits_are_rare) {
          typename Lanes::Reg greatest = sums[c];
#pragma GCC unroll 8
          for (std::size_t r = 1; r < kStrip; ++r) greatest = Lanes::max(greatest, sums[r * kColumns + c]);
          if (Lanes::at_least(greatest, least) == 0) [[likely]]
            continue;
        }
        words = keep_code_hits<kStrip>(first_row, query, words, [&](std::size_t r) __attribute__((always_inline)) {
          return Lanes::at_least(sums[r * kColumns + c], least);
        });
      } else {
        const Vec::Reg unit = Vec::load(scan.units + query);
        words = keep_code_hits<kStrip>(first_row, query, words, [&](std::size_t r) __attribute__((always_inline)) {
          const Vec::Reg term = Vec::broadcast(scan.row_terms[first_row + r]);
          const typename Lanes::Reg least = Lanes::floor_within(Vec::fma(term, unit, wanted), kCodeLimit);
          return Lanes::at_least(sums[r * kColumns + c], least);
        });
      }
    }
  }
};

// What takes those of greatest_codes.
struct KeptGreatest {
  float* greatest;

  template <std::size_t kStrip, std::size_t kColumns, class Lanes = CodeLanes>
  [[gnu::always_inline]] void take(const typename Lanes::Reg (&sums)[kStrip * kColumns], const CodeScan& scan,
                                   std::size_t row, std::size_t first_query) noexcept {
    const std::size_t group = row / kCodeGroup;
    const float scale = scan.scales[group];
    const Vec::Reg step = Vec::broadcast(scale > 0.0F ? 1.0F / scale : 0.0F);
#pragma GCC unroll 2
    for (std::size_t c = 0; c < kColumns; ++c) {
      const std::size_t query = first_query + c * static_cast<std::size_t>(Vec::kLanes);
      const Vec::Reg unit = Vec::load(scan.units + query);
      Vec::Reg most = Vec::broadcast(-__FLT_MAX__);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kStrip; ++r) {
        Vec::Reg value = Lanes::to_float(sums[r * kColumns + c]);
        if (scan.row_terms != nullptr) {
          value = Vec::sub(value, Vec::mul(Vec::broadcast(scan.row_terms[row + r]), unit));
        }
        const auto number = static_cast<std::uint32_t>((row + r) % kCodeGroup);
        value = Vec::max(Vec::mul(value, step), Vec::broadcast(-__FLT_MAX__));  // of infinity, bits make a NaN
        most = Vec::max(most, Vec::with_low_bits(value, Vec::broadcast(__builtin_bit_cast(float, number))));
      }
      if (scale == 0.0F) most = Vec::broadcast(-__FLT_MAX__);
      float* const to = greatest + group * scan.width + query;
      if (row % kCodeGroup != 0) most = Vec::max(most, Vec::load(to));  // a group of several strips
      Vec::store(to, most);
    }
  }
};

[[gnu::always_inline]] inline PiecePrefetch ahead_of(const CodeScan& scan) noexcept {
  return {scan.prefetch,    scan.prefetch + std::size_t{64} * scan.prefetch_lines,
          scan.pieces,      scan.pieces + scan.piece_count,
          scan.piece_lines, 0};
}

// What is left to prefetch, over so many strips.
template <class Product>
[[gnu::always_inline]] inline void spread_prefetch(const CodeScan& scan, std::size_t strips,
                                                   PiecePrefetch& prefetch) noexcept {
  const std::size_t lines = (prefetch.lines() + strips - 1) / strips;
  const std::size_t turns = (scan.depth + Product::kPrefetchDepth - 1) / Product::kPrefetchDepth;
  // One more where there are pieces: the last turn of a piece has fewer.
  prefetch.lines_a_turn = (lines + turns - 1) / turns + (scan.piece_count == 0 ? 0 : 1);
}

// Rows from first_row on against kColumns registers of queries.
template <class Product, std::size_t kColumns, class Kept>
[[gnu::always_inline]] inline void scan_code_strips(const CodeScan& scan, std::size_t first_row,
                                                    std::size_t first_query, PiecePrefetch& prefetch,
                                                    Kept& kept) noexcept {
  using Lanes = typename Product::Lanes;
  constexpr std::size_t kStrip = Product::kRows;
  static_assert(kCodeGroup % kStrip == 0);
  for (std::size_t row = first_row; row < scan.row_count; row += kStrip) {
    typename Lanes::Reg sums[kStrip * kColumns];
#pragma GCC unroll 32
    for (std::size_t i = 0; i < kStrip * kColumns; ++i) {
      sums[i] = Lanes::load(scan.corrections + first_query + i % kColumns * static_cast<std::size_t>(Vec::kLanes));
    }
    Product::template multiply<kStrip, kColumns>(sums, scan.rows + row * scan.row_stride, scan.row_stride, scan.panel,
                                                 first_query, scan.width, scan.depth, prefetch);
    kept.template take<kStrip, kColumns, Lanes>(sums, scan, row, first_query);
  }
}

template <class Product, class Kept>
[[gnu::always_inline]] inline void scan_strips(const CodeScan& scan, Kept& kept) noexcept {
  constexpr std::size_t kWide = kScanColumns * Vec::kLanes;
  PiecePrefetch prefetch = ahead_of(scan);
  const std::size_t strips = scan.row_count / Product::kRows;
  if (strips == 0) return;
  std::size_t query = 0;
  for (; query + kWide <= scan.width; query += kWide) {
    spread_prefetch<Product>(scan, strips * (scan.width / kWide), prefetch);
    scan_code_strips<Product, kScanColumns>(scan, 0, query, prefetch, kept);
  }
  for (; query < scan.width; query += Vec::kLanes) {
    spread_prefetch<Product>(scan, strips, prefetch);
    scan_code_strips<Product, 1>(scan, 0, query, prefetch, kept);
  }
}

// A Product that has a way of its own through the rows names it scan_all.
template <class Product, class Kept>
[[gnu::always_inline]] inline void scan_all_codes(const CodeScan& scan, Kept& kept) noexcept {
  if constexpr (requires { Product::scan_all(scan, kept); }) {
    Product::scan_all(scan, kept);
  } else {
    scan_strips<Product>(scan, kept);
  }
}

// What was kept, to scan.hits; returns how many.
inline std::uint32_t list_hits(const CodeScan& scan, const CodeHits* end) noexcept {
  CodeHit* hits = scan.hits;
  for (const CodeHits* word = scan.words; word != end; ++word) {
    std::uint64_t bits = word->bits;
    do {
      const auto bit = static_cast<std::uint32_t>(__builtin_ctzll(bits));
      *hits++ = {word->row + bit / Vec::kLanes, word->query + bit % Vec::kLanes};
      bits &= bits - 1;
    } while (bits != 0);
  }
  return static_cast<std::uint32_t>(hits - scan.hits);
}

template <class Product>
std::uint32_t scan_codes(const CodeScan& scan) noexcept {
  if (scan.depth == 0) return 0;
  KeptHits kept{scan.words};
  scan_all_codes<Product>(scan, kept);
  return list_hits(scan, kept.words);
}

template <class Product>
void greatest_codes(const CodeScan& scan, float* greatest) noexcept {
  KeptGreatest kept{greatest};
  scan_all_codes<Product>(scan, kept);
}

template <class Product>
std::int32_t code_query_limit() noexcept {
  return Product::kQueryLimit;
}

// Products in registers and nothing else, as fma_peak_f32.
template <class Product>
double code_peak(std::size_t rounds, std::int32_t* sink) noexcept {
  constexpr std::size_t kChains = 12;
  CodeLanes::Reg chains[kChains];
  // Unrolled by name: what gcc unrolls late it keeps in memory too. Chains that are all the same it would run once.
#pragma GCC unroll 12
  for (std::size_t c = 0; c < kChains; ++c) chains[c] = CodeLanes::load(sink + c);
  const CodeLanes::Reg factor = CodeLanes::load(sink + 16);
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (auto& chain : chains) {
      if constexpr (requires { Product::add_most(chain, chain, factor); }) {
        chain = Product::add_most(chain, chain, factor);
      } else {
        chain = Product::add_products(chain, chain, factor);
      }
    }
  }
  CodeLanes::Reg greatest = chains[0];
#pragma GCC unroll 12
  for (const auto& chain : chains) greatest = CodeLanes::max(greatest, chain);
  CodeLanes::store(sink, greatest);
  return 2.0 * static_cast<double>(rounds * kChains * Product::kProducts * static_cast<std::size_t>(Vec::kLanes));
}

template <class Product>
void pack_code_panel(const CodePanel& step) noexcept {
  if (step.width == 1) {
    Product::pack_single(step);
  } else {
    Product::pack(step);
  }
}

template <class Product>
void scan_code_rows(const std::uint8_t* rows, std::size_t row_stride, std::size_t count, std::size_t depth,
                    const void* panel, std::int32_t correction, std::int32_t* products) noexcept {
  Product::scan_rows(rows, row_stride, count, depth, panel, correction, products);
}

}  // namespace
}  // namespace fastembed
