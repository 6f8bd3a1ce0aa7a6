// Products of float32 vectors from products of bfloat16 (Henry, Tang and Heinecke, Leveraging the bfloat16 artificial
// intelligence datatype for higher-precision computations, ARITH 2019): worth it where those run more than six times as
// fast, on matrix tiles. Tiles are eight registers of 16 x 16 sums, or of what is multiplied.
#pragma once

#include "kernels/result_store.inl.hpp"

namespace fastembed {
namespace {

// The registers in memory, for processors that have none: the same steps.
struct PlainTiles {
  static constexpr bool kIsFast = false;
  alignas(64) float registers[8][kSplitSide][kSplitSide];

  template <int kTile>
  void zero() noexcept {
    __builtin_memset(registers[kTile], 0, sizeof registers[kTile]);
  }
  template <int kTile>
  void load_bytes(const void* from, std::size_t stride) noexcept {
    for (std::size_t r = 0; r < kSplitSide; ++r) {
      __builtin_memcpy(registers[kTile][r], static_cast<const char*>(from) + r * stride, 64);
    }
  }
  template <int kTile>
  void store_bytes(void* to, std::size_t stride) noexcept {
    for (std::size_t r = 0; r < kSplitSide; ++r) {
      __builtin_memcpy(static_cast<char*>(to) + r * stride, registers[kTile][r], 64);
    }
  }
  template <int kSum, int kLeft, int kRight>
  void multiply_add() noexcept {
    for (std::size_t r = 0; r < kSplitSide; ++r) {
      for (std::size_t c = 0; c < kSplitSide; c += Vec::kLanes) {
        Vec::Reg sum = Vec::load(registers[kSum][r] + c);
        for (std::size_t k = 0; k < kSplitSide; ++k) {
          const Vec::Reg left = Vec::broadcast(registers[kLeft][r][k]);
          const Vec::Reg right = Vec::load(registers[kRight][k] + c);
          sum = Vec::fma(Vec::first_bf16(left), Vec::first_bf16(right), sum);
          sum = Vec::fma(Vec::second_bf16(left), Vec::second_bf16(right), sum);
        }
        Vec::store(registers[kSum][r] + c, sum);
      }
    }
  }
};

template <class Tiles>
bool prefers_split() noexcept {
  return Tiles::kIsFast;
}

// The bits of the nearest bfloat16, ties to even, in the upper half.
[[gnu::always_inline]] inline std::uint32_t nearest_bf16(float x) noexcept {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  return (bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U;
}

// kSplitDepth elements of a vector in parts.
[[gnu::always_inline]] inline void split(const float* from, std::size_t count, float scale,
                                         std::uint16_t (&parts)[kSplitParts][kSplitDepth]) noexcept {
  float elements[kSplitDepth] = {};
  for (std::size_t i = 0; i < count; ++i) elements[i] = from[i] * scale;
  for (std::size_t i = 0; i < kSplitDepth; ++i) {
    const std::uint32_t h = nearest_bf16(elements[i]);
    const float after_h = elements[i] - __builtin_bit_cast(float, h);
    const std::uint32_t m = nearest_bf16(after_h);
    const std::uint32_t l = nearest_bf16(after_h - __builtin_bit_cast(float, m));
    parts[0][i] = static_cast<std::uint16_t>(h >> 16);
    parts[1][i] = static_cast<std::uint16_t>(m >> 16);
    parts[2][i] = static_cast<std::uint16_t>(l >> 16);
  }
}

// Rows and columns of kSplitSide elements of four bytes exchanged.
inline void turn_tile(float* tile) noexcept {
  if constexpr (Vec::kLanes == kSplitSide) {
    Vec::Reg rows[Vec::kLanes];
    for (std::size_t r = 0; r < kSplitSide; ++r) rows[r] = Vec::load(tile + r * kSplitSide);
    Vec::transpose(rows);
    for (std::size_t r = 0; r < kSplitSide; ++r) Vec::store(tile + r * kSplitSide, rows[r]);
  } else {
    for (std::size_t r = 0; r < kSplitSide; ++r) {
      for (std::size_t c = 0; c < r; ++c) {
        const float kept = tile[r * kSplitSide + c];
        tile[r * kSplitSide + c] = tile[c * kSplitSide + r];
        tile[c * kSplitSide + r] = kept;
      }
    }
  }
}

void pack_split(const SplitPack& step) noexcept {
  constexpr std::size_t kPartFloats = kSplitTile / 2;
  const std::size_t steps = split_steps(step.depth);
  const std::size_t strips = (step.count + kSplitBlock - 1) / kSplitBlock * (kSplitBlock / kSplitSide);
  for (std::size_t strip = 0; strip < strips; ++strip) {
    for (std::size_t s = 0; s < steps; ++s) {
      std::uint16_t* const tiles = step.out + (strip * steps + s) * kSplitParts * kSplitTile;
      const std::size_t first = s * kSplitDepth;
      const std::size_t elements = step.depth - first < kSplitDepth ? step.depth - first : kSplitDepth;
      alignas(64) float turned[kSplitParts][kPartFloats];
      for (std::size_t r = 0; r < kSplitSide; ++r) {
        const std::size_t vector = strip * kSplitSide + r;
        std::uint16_t parts[kSplitParts][kSplitDepth] = {};
        if (vector < step.count) {
          split(step.vectors + vector * step.stride + first, elements, step.scales[vector], parts);
        }
        for (std::size_t p = 0; p < kSplitParts; ++p) {
          __builtin_memcpy(turned[p] + r * kSplitSide, parts[p], sizeof parts[p]);
        }
      }
      for (std::size_t p = 0; p < kSplitParts; ++p) {
        if (step.as_columns != 0) turn_tile(turned[p]);
        __builtin_memcpy(tiles + p * kSplitTile, turned[p], sizeof turned[p]);
      }
    }
  }
}

// Sums in 0..3: two tiles of rows by two of columns. What stands on the left in 4 and 5, on the right in 6 and 7.
template <class Tiles>
struct SplitBlocks {
  static constexpr std::size_t kStride = 64;
  Tiles tiles;
  std::size_t pitch;  // elements from one tile of vectors to the next

  template <int kTile>
  void load(const std::uint16_t* at) noexcept {
    tiles.template load_bytes<kTile>(at + kTile % 2 * pitch, kStride);
  }
  // Four products, and what comes next into each register as soon as its last product has been issued: registers are
  // not renamed, and tiles come from L2.
  void then_columns(const std::uint16_t* next) noexcept {
    tiles.template multiply_add<0, 4, 6>();
    tiles.template multiply_add<2, 5, 6>();
    load<6>(next);
    tiles.template multiply_add<1, 4, 7>();
    tiles.template multiply_add<3, 5, 7>();
    load<7>(next);
  }
  void then_rows(const std::uint16_t* next) noexcept {
    tiles.template multiply_add<0, 4, 6>();
    tiles.template multiply_add<1, 4, 7>();
    load<4>(next);
    tiles.template multiply_add<2, 5, 6>();
    tiles.template multiply_add<3, 5, 7>();
    load<5>(next);
  }
  void then_both(const std::uint16_t* next_rows, const std::uint16_t* next_columns) noexcept {
    tiles.template multiply_add<0, 4, 6>();
    tiles.template multiply_add<1, 4, 7>();
    load<4>(next_rows);
    tiles.template multiply_add<2, 5, 6>();
    load<6>(next_columns);
    tiles.template multiply_add<3, 5, 7>();
    load<5>(next_rows);
    load<7>(next_columns);
  }
  void load_both(const std::uint16_t* rows, const std::uint16_t* columns) noexcept {
    load<4>(rows);
    load<6>(columns);
    load<5>(rows);
    load<7>(columns);
  }
  void zero() noexcept {
    tiles.template zero<0>();
    tiles.template zero<1>();
    tiles.template zero<2>();
    tiles.template zero<3>();
  }
  // kSplitBlock x kSplitBlock floats.
  void store(float* to) noexcept {
    constexpr std::size_t kPitch = kSplitBlock * sizeof(float);
    tiles.template store_bytes<0>(to, kPitch);
    tiles.template store_bytes<1>(to + kSplitSide, kPitch);
    tiles.template store_bytes<2>(to + kSplitSide * kSplitBlock, kPitch);
    tiles.template store_bytes<3>(to + kSplitSide * kSplitBlock + kSplitSide, kPitch);
  }

  // The sums of products of h, and those of all other pairs of parts that count.
  void multiply(const std::uint16_t* rows, const std::uint16_t* columns, std::size_t steps, float* main,
                float* rest) noexcept {
    constexpr std::size_t kStep = kSplitParts * kSplitTile, kMiddle = kSplitTile, kLow = 2 * kSplitTile;
    const std::size_t last = (steps - 1) * kStep;
    zero();
    load_both(rows, columns);
    for (std::size_t at = 0; at < last; at += kStep) then_both(rows + at + kStep, columns + at + kStep);
    then_both(rows, columns + kLow);
    store(main);
    zero();
    for (std::size_t at = 0; at <= last; at += kStep) {
      then_columns(columns + at + kMiddle);
      then_rows(rows + at + kMiddle);
      then_columns(columns + at);
      then_rows(rows + at + kLow);
      const std::size_t next = at < last ? at + kStep : 0;
      then_both(rows + next, columns + next + kLow);
    }
    store(rest);
  }
};

// Results of a block from its sums.
inline void finish_split(const SplitProduct& step, std::size_t row, std::size_t column, const float* main,
                         const float* rest) noexcept {
  const std::size_t rows = step.row_count - row < kSplitBlock ? step.row_count - row : kSplitBlock;
  const std::size_t columns = step.column_count - column < kSplitBlock ? step.column_count - column : kSplitBlock;
  for (std::size_t r = 0; r < rows; ++r) {
    float* const out = step.out + (row + r) * step.out_stride + column;
    const Vec::Reg factor = Vec::broadcast(step.row_factors[row + r]);
    for (std::size_t c = 0; c < columns; c += Vec::kLanes) {
      const std::size_t at = r * kSplitBlock + c;
      const Vec::Reg sum = Vec::add(Vec::load(main + at), Vec::load(rest + at));
      Vec::Reg result = Vec::mul(Vec::mul(sum, factor), Vec::load(step.column_factors + column + c));
      if (step.row_squares != nullptr) {
        const Vec::Reg squares =
            Vec::add(Vec::broadcast(step.row_squares[row + r]), Vec::load(step.column_squares + column + c));
        result = Vec::max(Vec::zero(), Vec::fma(Vec::broadcast(-2.0F), result, squares));
      }
      if (c + Vec::kLanes <= columns) {
        store_result(out + c, result, step.stream);
        continue;
      }
      float last[Vec::kLanes];
      Vec::store(last, result);
      for (std::size_t i = 0; c + i < columns; ++i) out[c + i] = last[i];
    }
  }
}

template <class Tiles>
void multiply_split(const SplitProduct& step) noexcept {
  const std::size_t steps = split_steps(step.depth), pitch = steps * kSplitParts * kSplitTile;
  SplitBlocks<Tiles> blocks{{}, pitch};
  alignas(64) float main[kSplitBlock * kSplitBlock], rest[kSplitBlock * kSplitBlock];
  for (std::size_t column = 0; column < step.column_count; column += kSplitBlock) {
    for (std::size_t row = 0; row < step.row_count; row += kSplitBlock) {
      blocks.multiply(step.rows + row / kSplitSide * pitch, step.columns + column / kSplitSide * pitch, steps, main,
                      rest);
      finish_split(step, row, column, main, rest);
    }
  }
  if (step.stream != 0) Vec::end_stream();
}

}  // namespace
}  // namespace fastembed
