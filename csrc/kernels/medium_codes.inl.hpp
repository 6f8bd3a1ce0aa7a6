// The upper six bits of codes, from half bytes and quarters, against panels of queries: three quarters of the bytes of
// codes, for scans that memory bounds. They are widened to bytes a strip of rows at a time.
#pragma once

#include "kernels/prefetch.inl.hpp"
#include "kernels/scan_codes.inl.hpp"

namespace fastembed {
namespace {

// A widened byte stands for 2 n - kMediumZero as a code's byte does for the code.
constexpr int kMediumShift = kCodeZero - kMediumZero;

// How a block of 64 elements is widened; a tier with wide shifts has its own.
struct SixBits {
  [[gnu::always_inline]] static void widen(const std::uint8_t* halves, const std::uint8_t* quarters,
                                           std::uint8_t* out) noexcept {
    constexpr std::size_t kHalf = kNibbleBlock / 2, kQuarter = kNibbleBlock / 4;
    for (std::size_t half = 0; half < 2; ++half) {
      for (std::size_t part = 0; part < 2; ++part) {
        const std::size_t first = part * kQuarter, half_shift = 4 * half, shift = half_shift + 2 * part;
        for (std::size_t i = 0; i < kQuarter; ++i) {
          const int upper = halves[first + i] >> half_shift & 15, lower = quarters[i] >> shift & 3;
          out[half * kHalf + first + i] = static_cast<std::uint8_t>(8 * upper + 2 * lower + kMediumShift);
        }
      }
    }
  }
};

// Blocks of medium codes, one after the other, a multiple of four at a time.
template <class Bits>
class MediumBlocks {
 public:
  explicit MediumBlocks(const MediumRows& rows) noexcept : coarse_(rows.coarse), quarters_(rows.quarters) {}

  [[gnu::always_inline]] void widen(std::size_t blocks, std::uint8_t* out) noexcept {
    constexpr std::size_t kHalf = kNibbleBlock / 2, kQuarter = kNibbleBlock / 4;
    for (std::size_t block = 0; block < blocks; block += 4) {
      read_ahead(coarse_);
      read_ahead(coarse_ + 64);
      read_ahead(quarters_);
#pragma GCC unroll 4
      for (std::size_t b = 0; b < 4; ++b) {
        Bits::widen(coarse_, quarters_, out);
        coarse_ += kHalf;
        quarters_ += kQuarter;
        out += kNibbleBlock;
      }
    }
  }

 private:
  const std::uint8_t* coarse_;
  const std::uint8_t* quarters_;
};

template <class Product>
std::uint32_t scan_medium_codes(const CodeScan& scan, const MediumRows& rows) noexcept {
  const std::size_t stride = 2 * nibble_stride(scan.depth);
  MediumBlocks<SixBits> blocks(rows);
  CodeScan strip = scan;
  strip.rows = rows.room;
  strip.row_stride = stride;
  strip.row_count = kMediumStrip;
  for (std::uint32_t row = 0; row < scan.row_count; row += kMediumStrip) {
    blocks.widen(kMediumStrip * stride / kNibbleBlock, rows.room);
    strip.scales = scan.scales + row / kCodeGroup;
    strip.lengths = scan.lengths + row / kCodeGroup;
    strip.errors = scan.errors + row / kCodeGroup;
    if (scan.row_terms != nullptr) strip.row_terms = scan.row_terms + row;
    const std::uint32_t hits = scan_codes<Product>(strip);
    for (std::uint32_t h = 0; h < hits; ++h) strip.hits[h].row += row;
    strip.hits += hits;
  }
  return static_cast<std::uint32_t>(strip.hits - scan.hits);
}

// The kernels that a Product of codes of a byte makes for batches.
template <class Product>
consteval void use_for_codes(KernelTable& table) {
  table.code_query_limit = &code_query_limit<Product>;
  table.pack_code_panel = &pack_code_panel<Product>;
  table.scan_codes = &scan_codes<Product>;
  table.scan_medium_codes = &scan_medium_codes<Product>;
  table.greatest_codes = &greatest_codes<Product>;
  table.code_peak = &code_peak<Product>;
}

}  // namespace
}  // namespace fastembed
