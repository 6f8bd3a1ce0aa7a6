// Rows to codes: centered, turned by a Hadamard matrix with random signs, rounded to 8 bits with a scale a group, or as
// another Coding says. Sixteen rows at a time, side by side, so that every step is the same for all lanes.
#pragma once

#include "kernels/tile_product.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kCodeLanes = Vec::kLanes;
constexpr std::size_t kCodeRegs = kCodeRows / kCodeLanes;

// The Hadamard transform of kRadix registers, in place.
template <std::size_t kRadix>
[[gnu::always_inline]] inline void hadamard(Vec::Reg (&x)[kRadix]) noexcept {
#pragma GCC unroll 4
  for (std::size_t half = 1; half < kRadix; half *= 2) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kRadix; ++i) {
      if ((i & half) != 0) continue;
      const Vec::Reg a = x[i], b = x[i + half];
      x[i] = Vec::add(a, b);
      x[i + half] = Vec::sub(a, b);
    }
  }
}

// The levels step, 2 * step .. kRadix / 2 * step of the transform of `count` elements; `prepare(i, x)` is what happens
// to element i first.
template <std::size_t kRadix, class Prepare>
[[gnu::always_inline]] inline void hadamard_pass(float* columns, std::size_t count, std::size_t step,
                                                 const Prepare& prepare) noexcept {
  for (std::size_t begin = 0; begin < count; begin += kRadix * step) {
    for (std::size_t i = begin; i < begin + step; ++i) {
      for (std::size_t g = 0; g < kCodeRegs; ++g) {
        float* const at = columns + i * kCodeRows + g * kCodeLanes;
        Vec::Reg x[kRadix];
#pragma GCC unroll 16
        for (std::size_t r = 0; r < kRadix; ++r) {
          x[r] = prepare(i + r * step, Vec::load(at + r * step * kCodeRows));
        }
        hadamard(x);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < kRadix; ++r) Vec::store(at + r * step * kCodeRows, x[r]);
      }
    }
  }
}

// Takes the mean off, unless it is null, and turns `count` elements.
[[gnu::always_inline]] inline void turn_window(float* columns, const float* mean, const float* signs,
                                               std::size_t count) noexcept {
  const auto keep = [](std::size_t, Vec::Reg x) { return x; };
  const auto sign = [signs](std::size_t i, Vec::Reg x) { return Vec::mul(x, Vec::broadcast(signs[i])); };
  const auto center = [mean, sign](std::size_t i, Vec::Reg x) { return sign(i, Vec::sub(x, Vec::broadcast(mean[i]))); };
  const auto first = [&](auto radix) {
    if (mean == nullptr) {
      hadamard_pass<decltype(radix)::value>(columns, count, 1, sign);
    } else {
      hadamard_pass<decltype(radix)::value>(columns, count, 1, center);
    }
  };
  std::size_t step = 1;
  if (count >= 8) {
    first(Count<8>{});
    for (step = 8; 8 * step <= count; step *= 8) hadamard_pass<8>(columns, count, step, keep);
  } else {
    first(Count<1>{});
  }
  if (4 * step <= count) {
    hadamard_pass<4>(columns, count, step, keep);
  } else if (2 * step <= count) {
    hadamard_pass<2>(columns, count, step, keep);
  }
}

void turn_columns_f32(const CodeColumns& step) noexcept {
  turn_window(step.columns, step.mean, step.signs, step.window);
  if (step.window == step.depth) return;
  if (step.mean != nullptr) {
    for (std::size_t i = step.window; i < step.depth; ++i) {
      for (std::size_t j = 0; j < kCodeRows; ++j) step.columns[i * kCodeRows + j] -= step.mean[i];
    }
  }
  const std::size_t first = step.depth - step.window;
  turn_window(step.columns + first * kCodeRows, nullptr, step.signs + step.window, step.window);
}

// Codes of a byte.
struct ByteCoding {
  using Code = std::uint8_t;
  static constexpr bool kHasParts = true;
  // For the greatest |element| of a group.
  static float scale(float most) noexcept { return 127.0F / most; }
  static Vec::Reg round(Vec::Reg scaled) noexcept {
    const Vec::Reg rounder = Vec::broadcast(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
    return Vec::sub(Vec::add(scaled, rounder), rounder);
  }
  static void store(Vec::Reg rounded, Code* to) noexcept {
    float codes[kCodeLanes];
    Vec::store(codes, rounded);
    for (std::size_t i = 0; i < kCodeLanes; ++i) {
      to[i] = static_cast<Code>(static_cast<std::int32_t>(codes[i]) + kCodeZero);
    }
  }
};

// The group's scale from the greatest |element| of its rows.
template <class Coding>
[[gnu::always_inline]] inline float code_scale(const float* greatest) noexcept {
  float most = 0;
  for (std::size_t j = 0; j < kCodeGroup; ++j) most = greatest[j] > most ? greatest[j] : most;
  if (most == 0) return 1;
  return most >= 0x1p-60F && most <= 0x1p60F ? Coding::scale(most) : 0.0F;
}

// The greatest of each group.
[[gnu::always_inline]] inline void greatest_of_groups(const float* values, float* out) noexcept {
  for (std::size_t g = 0; g < kCodeRows / kCodeGroup; ++g) {
    out[g] = 0;
    for (std::size_t j = g * kCodeGroup; j < (g + 1) * kCodeGroup; ++j)
      out[g] = values[j] > out[g] ? values[j] : out[g];
  }
}

// Sums over the depth, a lane a row.
struct CodeSums {
  Vec::Reg lengths[kCodeRegs];
  Vec::Reg errors[kCodeRegs];
};

// Elements begin .. begin + count - 1 of the rows of register g, as many as it has lanes at most.
template <class Coding>
[[gnu::always_inline]] inline void code_block(const CodeRows& step, std::size_t begin, std::size_t count, std::size_t g,
                                              Vec::Reg scale, CodeSums& sums) noexcept {
  using Code = typename Coding::Code;
  Vec::Reg block[kCodeLanes];
  for (std::size_t i = 0; i < kCodeLanes; ++i) {
    block[i] = Vec::zero();
    if (i >= count) continue;
    const Vec::Reg scaled = Vec::mul(Vec::load(step.columns + (begin + i) * kCodeRows + g * kCodeLanes), scale);
    const Vec::Reg code = Coding::round(scaled);
    const Vec::Reg error = Vec::sub(scaled, code);
    sums.lengths[g] = Vec::fma(code, code, sums.lengths[g]);
    sums.errors[g] = Vec::fma(error, error, sums.errors[g]);
    block[i] = code;
  }
  Vec::transpose(block);
  const std::size_t left = step.code_stride - begin * sizeof(Code);
  for (std::size_t j = 0; j < kCodeLanes; ++j) {
    Code codes[kCodeLanes];
    Coding::store(block[j], codes);
    std::uint8_t* const to = step.codes + (g * kCodeLanes + j) * step.code_stride + begin * sizeof(Code);
    if (left >= sizeof(codes)) {
      __builtin_memcpy(to, codes, sizeof(codes));
    } else {
      for (std::size_t i = 0; i < left / sizeof(Code); ++i)
        __builtin_memcpy(to + i * sizeof(Code), codes + i, sizeof(Code));
    }
  }
}

// The scales of both groups and the squares of the rows.
template <class Coding>
[[gnu::always_inline]] inline void find_code_scales(const CodeRows& step, float* row_scales) noexcept {
  Vec::Reg most[kCodeRegs], least[kCodeRegs], squares[kCodeRegs];
  for (std::size_t g = 0; g < kCodeRegs; ++g) most[g] = least[g] = squares[g] = Vec::zero();
  for (std::size_t i = 0; i < step.depth; ++i) {
    for (std::size_t g = 0; g < kCodeRegs; ++g) {
      const Vec::Reg x = Vec::load(step.columns + i * kCodeRows + g * kCodeLanes);
      most[g] = Vec::max(most[g], x);
      least[g] = Vec::max(least[g], Vec::sub(Vec::zero(), x));
      squares[g] = Vec::fma(x, x, squares[g]);
    }
  }
  float greatest[kCodeRows];
  for (std::size_t g = 0; g < kCodeRegs; ++g) {
    Vec::store(greatest + g * kCodeLanes, Vec::max(most[g], least[g]));
    Vec::store(step.squares + g * kCodeLanes, squares[g]);
  }
  for (std::size_t g = 0; g < kCodeRows / kCodeGroup; ++g) {
    step.scales[g] = code_scale<Coding>(greatest + g * kCodeGroup);
    for (std::size_t j = 0; j < kCodeGroup; ++j) row_scales[g * kCodeGroup + j] = step.scales[g];
  }
}

// What the code of an element leaves over, in sixteenths of a step, from 0 on; adds what that leaves over to the sum.
struct ResidualNibble {
  static constexpr std::size_t kParts = 2;  // of a byte
  static Vec::Reg of(const float* element, Vec::Reg scale, Vec::Reg& sum) noexcept {
    constexpr auto kSteps = static_cast<float>(kResidualSteps), kZero = static_cast<float>(kResidualZero);
    const Vec::Reg scaled = Vec::mul(Vec::load(element), scale);
    const Vec::Reg error = Vec::sub(scaled, ByteCoding::round(scaled));
    const Vec::Reg nearest = ByteCoding::round(Vec::mul(error, Vec::broadcast(kSteps)));
    const Vec::Reg residual = Vec::min(nearest, Vec::broadcast(kSteps - 1 - kZero));
    const Vec::Reg rest = Vec::sub(error, Vec::mul(residual, Vec::broadcast(1 / kSteps)));
    sum = Vec::fma(rest, rest, sum);
    return Vec::add(residual, Vec::broadcast(kZero));
  }
};

// The upper bits of the code's byte, n, which stand for kUnit (2 n - kZero).
template <int kUnit, int kZero>
struct UpperBits {
  static constexpr auto kStep = static_cast<float>(2 * kUnit);
  static Vec::Reg of(Vec::Reg scaled) noexcept {
    // What is below them becomes less than 1/2 either way, and is rounded off.
    const Vec::Reg centered = Vec::add(ByteCoding::round(scaled), Vec::broadcast(kCodeZero - (kStep - 1) / 2));
    return ByteCoding::round(Vec::mul(centered, Vec::broadcast(1 / kStep)));
  }
  // Adds what they leave over to the sum.
  static void add_rest(Vec::Reg scaled, Vec::Reg upper, Vec::Reg& sum) noexcept {
    const Vec::Reg center = Vec::broadcast(static_cast<float>(-kUnit * kZero));
    const Vec::Reg rest = Vec::sub(scaled, Vec::fma(upper, Vec::broadcast(kStep), center));
    sum = Vec::fma(rest, rest, sum);
  }
};
using UpperHalf = UpperBits<kCoarseUnit, kCoarseZero>;
using UpperSix = UpperBits<kMediumUnit, kMediumZero>;

struct CoarseNibble {
  static constexpr std::size_t kParts = 2;
  static Vec::Reg of(const float* element, Vec::Reg scale, Vec::Reg& sum) noexcept {
    const Vec::Reg scaled = Vec::mul(Vec::load(element), scale), half = UpperHalf::of(scaled);
    UpperHalf::add_rest(scaled, half, sum);
    return half;
  }
};

// The lower two of the upper six bits.
struct MediumQuarter {
  static constexpr std::size_t kParts = 4;
  static Vec::Reg of(const float* element, Vec::Reg scale, Vec::Reg& sum) noexcept {
    const Vec::Reg scaled = Vec::mul(Vec::load(element), scale), six = UpperSix::of(scaled);
    UpperSix::add_rest(scaled, six, sum);
    return Vec::fma(UpperHalf::of(scaled), Vec::broadcast(-4.0F), six);
  }
};

// Rows of parts of bytes, those of register g; what they leave over is added to the sum.
template <class Part>
[[gnu::always_inline]] inline void code_parts(const CodeRows& step, std::size_t g, Vec::Reg scale, std::uint8_t* out,
                                              Vec::Reg& sum) noexcept {
  constexpr std::size_t kApart = kNibbleBlock / Part::kParts, kPieces = kApart / kCodeLanes;
  static_assert(kApart % kCodeLanes == 0);
  const std::size_t stride = nibble_stride(step.depth) * 2 / Part::kParts;
  const float* const columns = step.columns + g * kCodeLanes;
  for (std::size_t piece = 0; piece < stride / kCodeLanes; ++piece) {
    const std::size_t first = piece / kPieces * kNibbleBlock + piece % kPieces * kCodeLanes;
    Vec::Reg bytes[kCodeLanes];
    for (std::size_t i = 0; i < kCodeLanes; ++i) {
      bytes[i] = Vec::zero();
#pragma GCC unroll 4
      for (std::size_t part = 0; part < Part::kParts; ++part) {
        const std::size_t element = first + i + part * kApart;
        if (element >= step.depth) break;
        const auto place = static_cast<float>(1 << (8 / Part::kParts * part));
        bytes[i] = Vec::fma(Part::of(columns + element * kCodeRows, scale, sum), Vec::broadcast(place), bytes[i]);
      }
    }
    Vec::transpose(bytes);
    for (std::size_t j = 0; j < kCodeLanes; ++j) {
      float row[kCodeLanes];
      Vec::store(row, bytes[j]);
      std::uint8_t* const to = out + (g * kCodeLanes + j) * stride + piece * kCodeLanes;
      for (std::size_t i = 0; i < kCodeLanes; ++i) to[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(row[i]));
    }
  }
}

template <class Part>
[[gnu::always_inline]] inline void code_all_parts(const CodeRows& step, const float* row_scales, std::uint8_t* out,
                                                  float* out_errors) noexcept {
  float errors[kCodeRows];
  for (std::size_t g = 0; g < kCodeRegs; ++g) {
    Vec::Reg sum = Vec::zero();
    code_parts<Part>(step, g, Vec::load(row_scales + g * kCodeLanes), out, sum);
    Vec::store(errors + g * kCodeLanes, sum);
  }
  greatest_of_groups(errors, out_errors);
}

template <class Coding>
void code_rows(const CodeRows& step) noexcept {
  float scales[kCodeRows], lengths[kCodeRows], errors[kCodeRows];
  find_code_scales<Coding>(step, scales);
  CodeSums sums;
  for (std::size_t g = 0; g < kCodeRegs; ++g) sums.lengths[g] = sums.errors[g] = Vec::zero();
  for (std::size_t begin = 0; begin < step.code_stride / sizeof(typename Coding::Code); begin += kCodeLanes) {
    const std::size_t left = begin < step.depth ? step.depth - begin : 0;
    for (std::size_t g = 0; g < kCodeRegs; ++g) {
      const Vec::Reg scale = Vec::load(scales + g * kCodeLanes);
      if (left >= kCodeLanes) {
        code_block<Coding>(step, begin, kCodeLanes, g, scale, sums);
      } else {
        code_block<Coding>(step, begin, left, g, scale, sums);
      }
    }
  }
  for (std::size_t g = 0; g < kCodeRegs; ++g) {
    Vec::store(lengths + g * kCodeLanes, sums.lengths[g]);
    Vec::store(errors + g * kCodeLanes, sums.errors[g]);
  }
  greatest_of_groups(lengths, step.lengths);
  greatest_of_groups(errors, step.errors);
  if constexpr (Coding::kHasParts) {
    if (step.residuals != nullptr) code_all_parts<ResidualNibble>(step, scales, step.residuals, step.residual_errors);
    if (step.coarse != nullptr) code_all_parts<CoarseNibble>(step, scales, step.coarse, step.coarse_errors);
    if (step.quarters != nullptr) code_all_parts<MediumQuarter>(step, scales, step.quarters, step.medium_errors);
  }
}

}  // namespace
}  // namespace fastembed
