// What the checks of the tile steps share: matrices in every row format, float64 values with bounds, comparison.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "support/aligned_buffer.hpp"
#include "train/half_precision.hpp"

namespace fastembed::check {

using support::AlignedBuffer;

constexpr std::size_t kWords = 40;  // few, so that rows repeat within a tile

inline std::uint16_t to_half(float value, RowFormat format) {
  return format == RowFormat::kBfloat16 ? train::to_bfloat16(value) : train::to_float16(value);
}
inline float from_half(std::uint16_t value, RowFormat format) {
  return format == RowFormat::kBfloat16 ? train::from_bfloat16(value) : train::from_float16(value);
}

// Rows in a format, with guards around every row's padding.
class Matrix {
 public:
  Matrix(Random& random, std::size_t dim, std::size_t depth, RowFormat format, float scale)
      : dim_(dim), depth_(depth), format_(format), bytes_(kWords * depth * width()) {
    std::vector<float> row(dim);
    for (std::size_t word = 0; word < kWords; ++word) {
      random.fill(row.data(), dim, scale);
      for (std::size_t i = 0; i < dim; ++i) set(word, i, row[i]);
    }
  }
  [[nodiscard]] std::size_t width() const { return format_ == RowFormat::kFloat32 ? 4 : 2; }
  void* row(std::size_t word) { return bytes_.data() + word * depth_ * width(); }
  [[nodiscard]] double get(std::size_t word, std::size_t i) const {
    const unsigned char* at = bytes_.data() + (word * depth_ + i) * width();
    if (format_ == RowFormat::kFloat32) {
      float value;
      std::memcpy(&value, at, 4);
      return value;
    }
    std::uint16_t half;
    std::memcpy(&half, at, 2);
    return from_half(half, format_);
  }
  [[nodiscard]] bool same_bytes(const Matrix& other) const {
    return std::memcmp(bytes_.data(), other.bytes_.data(), bytes_.size()) == 0;
  }
  [[nodiscard]] bool padding_is_zero() const {
    for (std::size_t word = 0; word < kWords; ++word) {
      for (std::size_t i = dim_; i < depth_; ++i) {
        if (get(word, i) != 0) return false;
      }
    }
    return true;
  }

 private:
  void set(std::size_t word, std::size_t i, float value) {
    unsigned char* at = bytes_.data() + (word * depth_ + i) * width();
    if (format_ == RowFormat::kFloat32) {
      std::memcpy(at, &value, 4);
      return;
    }
    const std::uint16_t half = to_half(value, format_);
    std::memcpy(at, &half, 2);
  }

  std::size_t dim_;
  std::size_t depth_;
  RowFormat format_;
  AlignedBuffer<unsigned char> bytes_;
};

// Values and bounds of one matrix after the step.
struct Wanted {
  explicit Wanted(std::size_t dim) : value(kWords * dim), bound(kWords * dim), moved(kWords * dim) {}
  std::vector<double> value;
  std::vector<double> bound;
  std::vector<double> moved;  // the sum of all updates' magnitudes
};

// Half a unit of float32 for each of at most `updates` additions to a row, or a whole step of the 16-bit format.
inline double storage_error(RowFormat format, double value, std::size_t updates) {
  const double unit = format == RowFormat::kFloat32    ? kUnit * std::fabs(value)
                      : format == RowFormat::kBfloat16 ? std::ldexp(std::fabs(value), -7) + 1e-38
                                                       : std::ldexp(std::fabs(value), -10) + 0x1p-24;
  return 1.01 * static_cast<double>(updates) * unit;
}

inline void compare(RowFormat format, std::size_t dim, const Matrix& got, const Wanted& wanted,
                    const std::vector<std::size_t>& words, Report& report, const std::string& where) {
  std::vector<std::size_t> updates(kWords);
  for (const std::size_t word : words) ++updates[word];
  for (std::size_t word = 0; word < kWords; ++word) {
    for (std::size_t i = 0; i < dim; ++i) {
      const std::size_t at = word * dim + i;
      // Between the updates of a repeated row its value may exceed the last one by what all of them move.
      const double largest = std::fabs(wanted.value[at]) + wanted.moved[at];
      report.expect_near(got.get(word, i), wanted.value[at],
                         wanted.bound[at] + storage_error(format, largest, updates[word]),
                         where + text("word", word) + text("i", i));
    }
  }
  report.expect(got.padding_is_zero(), where + ": the padding has changed");
}

inline LossSum empty_loss() {
  LossSum loss{};
  std::fill(std::begin(loss.factor_lanes), std::end(loss.factor_lanes), 1.0F);
  return loss;
}

// What drain_loss does, which an override tier lacks.
inline void drain(LossSum& loss) {
  for (int lane = 0; lane < 16; ++lane) {
    loss.total += static_cast<double>(loss.linear_lanes[lane]) + std::log(static_cast<double>(loss.factor_lanes[lane]));
  }
}

/// Sets value to the matrix as it is.
inline Wanted unchanged(const Matrix& matrix, std::size_t dim) {
  Wanted wanted(dim);
  for (std::size_t word = 0; word < kWords; ++word) {
    for (std::size_t i = 0; i < dim; ++i) wanted.value[word * dim + i] = matrix.get(word, i);
  }
  return wanted;
}

/// Where a tile stores its sums in place of updating rows: a row a slot.
class SlotSums {
 public:
  SlotSums(std::size_t slots, std::size_t depth) : depth_(depth), end_(slots * depth), values_(end_ + kGuard) {
    std::fill(values_.data() + end_, values_.data() + end_ + kGuard, kGuardValue);
    for (std::size_t slot = 0; slot < slots; ++slot) rows_.push_back(values_.data() + slot * depth);
  }
  [[nodiscard]] void* const* rows() const { return rows_.data(); }
  /// Adds a slot to what moves a word, in float64, and to the row itself, if that is float32.
  void add(std::size_t slot, std::size_t word, std::size_t dim, RowFormat format, Wanted& moves, Matrix& matrix) const {
    for (std::size_t i = 0; i < dim; ++i) {
      const float sum = values_[slot * depth_ + i];
      moves.moved[word * dim + i] += static_cast<double>(sum);
      if (format == RowFormat::kFloat32) static_cast<float*>(matrix.row(word))[i] += sum;
    }
  }
  [[nodiscard]] bool guard_is_whole() const {
    const float* const guard = values_.data() + end_;
    return std::all_of(guard, guard + kGuard, [](float value) { return value == kGuardValue; });
  }

 private:
  std::size_t depth_, end_;
  AlignedBuffer<float> values_;
  std::vector<void*> rows_;
};

/// That the rows as they were and what moves them are what is wanted.
inline void expect_moved(const Matrix& before, const Wanted& moves, const Wanted& wanted, std::size_t dim,
                         Report& report, const std::string& where) {
  for (std::size_t at = 0; at < kWords * dim; ++at) {
    report.expect_near(before.get(at / dim, at % dim) + moves.moved[at], wanted.value[at], wanted.bound[at] + 1e-9,
                       where + text("word", at / dim));
  }
}

/// Random scales, most of them 1.
inline std::vector<float> random_scales(Random& random, std::size_t count) {
  std::vector<float> scales(count, 1.0F);
  for (float& scale : scales) {
    if (random.next() % 4 == 0) scale = 0.25F * static_cast<float>(random.next() % 4);
  }
  return scales;
}

}  // namespace fastembed::check
