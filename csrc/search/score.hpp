// The definition of a score, and the order of results. Scores are handled as keys, of which the greater is the better:
// the score itself, for l2 the negated squared distance.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "cpu/kernel_table.hpp"
#include "search/request.hpp"

namespace fastembed::search {

inline double exact_norm(const KernelTable& kernels, const float* row, std::size_t depth) noexcept {
  return std::sqrt(kernels.exact_dot_f32(row, row, depth));
}

/// The key of a query (with its exact norm) and a row, by the definition. Every NaN is the same NaN.
inline float exact_key(const KernelTable& kernels, Metric metric, const float* query, double query_norm,
                       const float* row, std::size_t depth) noexcept {
  double key = 0;
  if (metric == Metric::kL2) {
    key = -kernels.exact_squared_distance_f32(query, row, depth);
  } else {
    key = kernels.exact_dot_f32(query, row, depth);
    if (metric == Metric::kCosine) {
      const double row_norm = exact_norm(kernels, row, depth);
      key = query_norm == 0.0 || row_norm == 0.0 ? 0.0 : key / (query_norm * row_norm);
    }
  }
  return std::isnan(key) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(key);
}

inline float key_to_score(Metric metric, float key) noexcept { return metric == Metric::kL2 ? 0.0F - key : key; }
inline float score_to_key(Metric metric, float score) noexcept { return metric == Metric::kL2 ? -score : score; }

/// A result by the definition.
struct Exact {
  float key;
  std::int64_t rank;  // breaks ties, ascending
  std::int64_t row;
};

/// Greater key first, NaN last, then the smaller rank.
inline bool better(const Exact& a, const Exact& b) noexcept {
  if (a.key > b.key) return true;
  if (a.key < b.key) return false;
  const bool a_is_nan = std::isnan(a.key), b_is_nan = std::isnan(b.key);
  if (a_is_nan != b_is_nan) return b_is_nan;
  return a.rank < b.rank;
}

}  // namespace fastembed::search
