// medium_codes.inl.hpp on matrix tiles: while a strip of rows is met the next one is widened, some blocks before every
// product. So memory is read all the time, and what tiles are loaded from has long been stored in L1.
#pragma once

#include <immintrin.h>

#include "kernels/amx_codes.inl.hpp"
#include "kernels/medium_codes.inl.hpp"

namespace fastembed {
namespace {

// A block of 64 elements is a register.
struct SixBitRegisters {
  [[gnu::always_inline]] static void widen(const std::uint8_t* halves, const std::uint8_t* quarters,
                                           std::uint8_t* out) noexcept {
    // Each half of the register turns its half bytes to bits 3 .. 6, each quarter its two bits to 1 and 2.
    const __m512i half_turns = _mm512_setr_epi32(3, 3, 3, 3, 3, 3, 3, 3, 31, 31, 31, 31, 31, 31, 31, 31);
    const __m512i quarter_turns = _mm512_setr_epi32(1, 1, 1, 1, 31, 31, 31, 31, 29, 29, 29, 29, 27, 27, 27, 27);
    __m256i half_bytes;
    __m128i quarter_bytes;
    __builtin_memcpy(&half_bytes, halves, sizeof(half_bytes));
    __builtin_memcpy(&quarter_bytes, quarters, sizeof(quarter_bytes));
    const __m512i upper = _mm512_rolv_epi32(_mm512_broadcast_i64x4(half_bytes), half_turns);
    const __m512i lower = _mm512_rolv_epi32(_mm512_broadcast_i32x4(quarter_bytes), quarter_turns);
    constexpr int kChosen = 0xca;  // by the first operand the second, else the third
    const __m512i both = _mm512_ternarylogic_epi32(_mm512_set1_epi8(0x78), upper, lower, kChosen);
    const __m512i twice = _mm512_and_si512(both, _mm512_set1_epi8(0x7e));
    _mm512_store_si512(out, _mm512_add_epi8(twice, _mm512_set1_epi8(kMediumShift)));
  }
};

class WidenedStrips {
 public:
  WidenedStrips(const CodeScan& scan, const MediumRows& rows) noexcept
      : blocks_(rows), stride_(2 * nibble_stride(scan.depth)), left_(scan.row_count / kMediumStrip), room_(rows.room) {
    for (std::size_t i = 0; i < stride_ / kMatrixDepth; ++i) widen(room_ + i * kTurnBytes);
  }
  static constexpr std::size_t kTiles = kMediumStrip / kMatrixSide;
  // One strip after the other.
  [[gnu::always_inline]] [[nodiscard]] const std::uint8_t* at(std::size_t row) noexcept {
    std::uint8_t* const other = room_ + kMediumStrip * stride_;
    const bool is_odd = row / kMediumStrip % 2 != 0;
    to_ = is_odd ? room_ : other;
    --left_;
    return is_odd ? other : room_;
  }
  [[gnu::always_inline]] [[nodiscard]] std::size_t stride() const noexcept { return stride_; }
  // As many as there are steps of the depth make a strip.
  [[gnu::always_inline]] void turn() noexcept {
    if (left_ == 0) return;
    widen(to_);
    to_ += kTurnBytes;
  }

 private:
  static constexpr std::size_t kTurnBytes = kMediumStrip * kMatrixDepth;
  [[gnu::always_inline]] void widen(std::uint8_t* to) noexcept { blocks_.widen(kMediumStrip, to); }

  MediumBlocks<SixBitRegisters> blocks_;
  std::size_t stride_, left_;
  std::uint8_t* room_;
  std::uint8_t* to_ = nullptr;
};

template <class Taker>
std::uint32_t scan_medium_hits(const CodeScan& scan, const MediumRows& rows) noexcept {
  PiecePrefetch prefetch = ahead_of(scan);
  Taker taker{scan.words};
  const WidenedStrips strips(scan, rows);
  const std::size_t count = scan.row_count / kMediumStrip;
  {
    const MatrixUnit unit;
    if (scan.width == kMatrixSide) {
      scan_matrix_columns<MatrixByteProduct, 1>(scan, 0, strips, count, prefetch, taker);
    } else {
      scan_matrix_columns<MatrixByteProduct, 2>(scan, 0, strips, count, prefetch, taker);
    }
  }
  return list_hits(scan, taker.words);
}

std::uint32_t scan_medium_matrix(const CodeScan& scan, const MediumRows& rows) noexcept {
  static_assert(kMatrixDepth == kNibbleBlock && kPanelQueries == 2 * kMatrixSide);
  if (scan.row_count == 0) return 0;
  return scan.row_terms != nullptr ? scan_medium_hits<StoredHitsByRow>(scan, rows)
                                   : scan_medium_hits<StoredHits>(scan, rows);
}

}  // namespace
}  // namespace fastembed
