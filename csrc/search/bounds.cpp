#include "search/bounds.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

namespace fastembed::search {
namespace {

constexpr double kUnit = 0x1p-24;  // of float32
constexpr float kNoThreshold = -FLT_MAX;
// Of float64 sums and of the arithmetic in this file, with room to spare.
double wide_error(std::size_t depth) noexcept { return static_cast<double>(depth + 64) * 0x1p-52; }

float round_down(double value) noexcept {
  const auto nearest = static_cast<float>(value);
  return nearest > value ? std::nextafterf(nearest, -INFINITY) : nearest;
}

}  // namespace

Bounds::Bounds(Metric metric, std::size_t depth) noexcept : metric_(metric), wide_(wide_error(depth)) {
  const double terms = static_cast<double>(depth + 16) * kUnit;
  // gamma of the sum, and as much again for the estimate of the row's norm; 16 units for thresholds and terms.
  relative_ = 2.0 * terms / (1.0 - std::min(terms, 0.5)) + 16.0 * kUnit + wide_;
  absolute_ = static_cast<double>(depth + 16) * 0x1p-147;
  greatest_norm_ = metric == Metric::kL2 ? 0x1p58F : 0x1p124F;
  if (terms > 0.01) greatest_norm_ = -1.0F;  // no useful bound: everything by the definition
}

QueryScale Bounds::query_scale(double norm) const noexcept {
  QueryScale query;
  query.norm = norm;
  if (!(norm <= DBL_MAX)) return query;
  if (metric_ == Metric::kL2) {
    query.scannable = norm <= 0x1p58;
    return query;
  }
  query.scannable = true;
  if (norm > 0) {
    query.unscale = std::ldexp(1.0, std::ilogb(norm) + 1);
    query.scale = 1.0 / query.unscale;
  }
  return query;
}

RowTerms Bounds::row_terms() const noexcept {
  const auto relative = static_cast<float>(relative_ * 1.0001);
  const auto absolute = static_cast<float>(absolute_ * 1.0001);
  switch (metric_) {
    case Metric::kDot: return {1.0F, 0.0F, -absolute, -relative, 0.0F};
    case Metric::kCosine: return {0.0F, 1.0F, -absolute, -relative, 0.0F};
    case Metric::kL2: break;
  }
  return {1.0F, 0.0F, -absolute, 0.0F, 0.5F - relative};
}

void Bounds::row_terms(const float* norms, std::size_t count, float* factors, float* offsets) const noexcept {
  const RowTerms terms = row_terms();
  for (std::size_t r = 0; r < count; ++r) {
    factors[r] = terms.factor + terms.factor_slope * norms[r];
    offsets[r] = terms.offset + norms[r] * (terms.offset_slope + norms[r] * terms.offset_square);
  }
}

float Bounds::threshold(float key, const QueryScale& query) const noexcept {
  if (std::isnan(key) || key == -INFINITY) return kNoThreshold;
  // A definition below this float32 rounds to a key below `key`.
  const double least = std::nextafterf(key, -INFINITY);
  double wanted = 0;
  if (metric_ == Metric::kL2) {
    const double square = query.norm * query.norm;
    wanted = (square + least * (1.0 + wide_)) / 2.0 - relative_ * square - absolute_;
  } else if (metric_ == Metric::kDot) {
    wanted = least * query.scale;
  } else {
    wanted = least * query.norm * query.scale;
    wanted -= std::fabs(wanted) * 1e-15;
  }
  return std::max(kNoThreshold, std::min(FLT_MAX, round_down(wanted)));
}

}  // namespace fastembed::search
