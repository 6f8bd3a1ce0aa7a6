// Rows as codes, of 8 bits or bfloat16: how they are made and how far a product of codes can be from that of the rows.
// The bounds are derived in docs/exact-search.md; the scan over codes is in code_scan.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/request.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::search {

/// Rows that are shorter are scanned as fast in float32.
constexpr std::size_t kLeastCodeDepth = 32;
/// The greatest dim that products of 8-bit codes in int32 allow.
constexpr std::size_t kMostCodeDepth = 65536;

/// What an element of a row becomes.
enum class CodeKind { kInt8, kBf16 };

/// The space that rows are coded in: a center is taken off and what is left turned by an orthogonal matrix that depends
/// on the dimension alone. For cosine, rows are brought to length 1 first.
class CodeSpace {
 public:
  /// `mean` has depth floats.
  CodeSpace(CodeKind kind, Metric metric, std::size_t depth, const float* mean);

  [[nodiscard]] CodeKind kind() const noexcept { return kind_; }
  [[nodiscard]] Metric metric() const noexcept { return metric_; }
  [[nodiscard]] std::size_t depth() const noexcept { return depth_; }
  /// Bytes of an element.
  [[nodiscard]] std::size_t element_bytes() const noexcept { return kind_ == CodeKind::kInt8 ? 1 : 2; }
  /// Bytes from row to row.
  [[nodiscard]] std::size_t stride() const noexcept {
    return (depth_ * element_bytes() + kCodePadding - 1) / kCodePadding * kCodePadding;
  }
  /// Of residuals and of coarse codes, from row to row.
  [[nodiscard]] std::size_t nibble_stride() const noexcept { return fastembed::nibble_stride(depth_); }
  /// Of the quarters that make medium codes of these.
  [[nodiscard]] std::size_t quarter_stride() const noexcept { return fastembed::quarter_stride(depth_); }
  /// Elements from row to row.
  [[nodiscard]] std::size_t padded() const noexcept { return stride() / element_bytes(); }
  [[nodiscard]] const float* mean() const noexcept { return mean_.data(); }
  [[nodiscard]] double mean_norm() const noexcept { return mean_norm_; }
  /// Of vectors beside each other (CodeColumns), with or without taking the center off.
  void turn(const KernelTable& kernels, float* columns, bool centered) const noexcept;

  /// |computed - R v| <= turn_error() |v| for the turned vector.
  [[nodiscard]] double turn_error() const noexcept { return turn_error_; }

 private:
  CodeKind kind_;
  Metric metric_;
  std::size_t depth_, window_;
  std::vector<float> mean_, signs_;
  double mean_norm_;
  double turn_error_;
};

/// Where codes of consecutive rows are, in whole groups of kCodeGroup; `squares` only for l2, and with or without
/// residuals, coarse codes, the upper halves of codes, and quarters, the two bits below these, which make medium codes
/// of them; and their errors. Quarters only with coarse codes. Not owned.
template <class Byte, class Float>
struct CodesAt {
  Byte* codes = nullptr;  // rows * stride, and kCodeSlack more
  Float* scales = nullptr;
  Float* lengths = nullptr;
  Float* errors = nullptr;
  Float* squares = nullptr;   // of the centered rows
  Byte* residuals = nullptr;  // rows * nibble_stride
  Float* residual_errors = nullptr;
  Byte* coarse = nullptr;          // as many, and kCodeSlack more
  Float* coarse_errors = nullptr;  // none below `errors`
  Byte* quarters = nullptr;        // rows * quarter_stride
  Float* medium_errors = nullptr;  // none below `errors`

  /// Those of rows from `row` on, a multiple of kCodeGroup.
  [[nodiscard]] CodesAt from(std::size_t row, const CodeSpace& space) const noexcept {
    const std::size_t group = row / kCodeGroup;
    return {codes + row * space.stride(),
            scales + group,
            lengths + group,
            errors + group,
            squares == nullptr ? nullptr : squares + row,
            residuals == nullptr ? nullptr : residuals + row * space.nibble_stride(),
            residuals == nullptr ? nullptr : residual_errors + group,
            coarse == nullptr ? nullptr : coarse + row * space.nibble_stride(),
            coarse == nullptr ? nullptr : coarse_errors + group,
            quarters == nullptr ? nullptr : quarters + row * space.quarter_stride(),
            quarters == nullptr ? nullptr : medium_errors + group};
  }
};
using CodesOut = CodesAt<std::uint8_t, float>;
using CodesIn = CodesAt<const std::uint8_t, const float>;

/// The codes that come with an index: of its first `rows` rows, a multiple of kCodeGroup.
struct Codes {
  const CodeSpace* space = nullptr;
  CodesIn at;
  std::size_t rows = 0;
};

/// Codes `rows`, a multiple of kCodeGroup; norms[i] is that of row i (any for dot and l2 where it is between 2^-60 and
/// 2^60). `columns` is room for kCodeRows * depth floats, 64-byte aligned. A group with a
/// row of a norm that is not 0 and outside 2^-60 .. 2^60 gets codes that bound nothing.
void code_rows(const KernelTable& kernels, const CodeSpace& space, const Matrix& rows, const float* norms,
               float* columns, const CodesOut& out);

/// The mean of a sample of the rows (for cosine, of their directions), into mean[0 .. depth - 1].
void sample_mean(const KernelTable& kernels, const StoredRows& rows, Metric metric, float* mean);

/// Codes `rows`, a multiple of kCodeGroup, by all workers.
void code_index(const CodeSpace& space, const StoredRows& rows, const float* norms, const CodesOut& out, int workers,
                const std::function<void()>& tick);

}  // namespace fastembed::search
