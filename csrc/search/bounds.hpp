// How far a product in float32 can be from the definition of a score, and the thresholds of the scan that follow from
// it. docs/exact-search.md derives every constant here.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>

#include "search/request.hpp"

namespace fastembed::search {

/// What the bounds need to know of a query. The scan takes the query times `scale`, a power of two that brings its norm
/// below 1 (l2: 1, so that squares of queries and rows are of one scale).
struct QueryScale {
  double norm = 0;     // exact
  double scale = 1;    // of the query in the scan
  double unscale = 1;  // 1 / scale
  bool scannable = false;
};

/// Bounds on a key, in float32, rounded outwards.
struct KeyBounds {
  float lower;
  float upper;
};

/// float32 values on either side of a float64 value, by an ulp or two.
inline float below(double value) noexcept {
  const auto nearest = static_cast<float>(std::max(value, -double{FLT_MAX}));
  return nearest > FLT_MAX ? FLT_MAX : nearest - (std::fabs(nearest) * 0x1p-23F + FLT_TRUE_MIN);
}
inline float above(double value) noexcept { return -below(-value); }

class Bounds {
 public:
  Bounds(Metric metric, std::size_t depth) noexcept;

  /// How the scan is to see a query of this exact norm. Not scannable: NaN, infinity, or out of float32's range.
  [[nodiscard]] QueryScale query_scale(double norm) const noexcept;

  /// Whether the scan can judge a row of this norm; the others are met by the definition alone.
  [[nodiscard]] bool can_scan(float norm) const noexcept { return norm <= greatest_norm_; }  // false for NaN

  [[nodiscard]] float greatest_norm() const noexcept { return greatest_norm_; }

  /// What makes a row's terms of its norm.
  [[nodiscard]] RowTerms row_terms() const noexcept;

  /// From norms of `count` rows, which can_scan, the terms of their thresholds: a product s reaches a threshold T when
  /// s >= factors[r] * T + offsets[r].
  void row_terms(const float* norms, std::size_t count, float* factors, float* offsets) const noexcept;

  /// Bounds on the key of a row from its product with the scaled query.
  [[nodiscard]] KeyBounds key_bounds(float product, float norm, const QueryScale& query) const noexcept {
    const double row = norm, s = product;
    if (metric_ == Metric::kL2) {
      const double squares = query.norm * query.norm + row * row;
      const double distance = squares - 2.0 * s;
      const double slack = 2.0 * (relative_ * squares + absolute_);
      return {below(-(distance + slack)), above(-std::max(0.0, distance - slack))};
    }
    const double slack = relative_ * row + absolute_;
    if (metric_ == Metric::kDot) return {below((s - slack) * query.unscale), above((s + slack) * query.unscale)};
    const double norms = row * query.norm * query.scale;
    // So small that float32 may have lost the row's direction: any cosine is possible.
    if (norms < 0x1p-120) return {-1.0F, 1.0F};
    const double over = 1.0 / norms;
    return {below(std::max(-1.0, (s - slack) * over)), above(std::min(1.0, (s + slack) * over))};
  }

  /// The greatest T such that every row whose key, by the definition and rounded to float32, is at least `key` has a
  /// product that reaches T.
  [[nodiscard]] float threshold(float key, const QueryScale& query) const noexcept;

 private:
  Metric metric_;
  double wide_;      // relative, of sums in float64
  double relative_;  // of a product, in units of |query| |row|
  double absolute_;  // of a product: underflow
  float greatest_norm_;
};

}  // namespace fastembed::search
