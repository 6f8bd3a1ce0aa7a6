// What codes and residuals together say of a candidate: bounds that take its row's place. docs/exact-search.md.
#include <algorithm>
#include <cmath>

#include "search/code_scan.hpp"

namespace fastembed::search {
namespace {

// int16, and a rounding less.
constexpr double kMostElement = 32000;
// The greatest |element| of a row, in steps of the residual.
constexpr double kMostRefined = 128.0 * kResidualSteps;

}  // namespace

// Rounds a turned query once more, as finely as int16 and products below 2^31 allow.
void QueryCodes::refine_query(std::size_t query, const float* column, double most, double square) {
  Terms& terms = terms_[query];
  const double root = std::sqrt(static_cast<double>(space_.depth())), norm = std::sqrt(square) * (1.0 + 1e-9);
  // Rounding adds root / 2 to the length at most.
  const double most_length = 0x1p31 / (kMostRefined * root) * 0.999 - root / 2.0;
  const double gain = terms.refined_gain = std::min(kMostElement / most, most_length / norm);
  std::int16_t* const to = refined_.data() + query * nibble_blocks_ * kNibbleBlock;
  double rest = 0;
  for (std::size_t i = 0; i < space_.depth(); ++i) {
    const double element = column[i * kCodeRows] * gain;
    const double rounded = (element + 0x1.8p52) - 0x1.8p52;
    rest += (element - rounded) * (element - rounded);
    to[i] = static_cast<std::int16_t>(rounded);
  }
  const double common = relative_ * length_of(query) * gain;
  terms.refined_slope = std::sqrt(rest) * (1.0 + 1e-9) + common;
  terms.refined_weight = norm * gain + common;
}

// Rounds a turned query to int8, for coarse codes: next to what these leave over that is fine enough.
void QueryCodes::round_coarsely(const KernelTable& kernels, std::size_t query, const float* column, double most,
                                double square) {
  Terms& terms = terms_[query];
  const double gain = terms.coarse_gain = 127.0 / most;
  std::vector<std::int16_t> rounded(space_.depth());
  double rest = 0;
  for (std::size_t i = 0; i < space_.depth(); ++i) {
    const double element = column[i * kCodeRows] * gain, nearest = std::nearbyint(element);
    rest += (element - nearest) * (element - nearest);
    rounded[i] = static_cast<std::int16_t>(nearest);
  }
  kernels.pack_coarse_query({rounded.data(), coarse_.data() + query * coarse_bytes_, coarse_corrections_.data() + query,
                             1, static_cast<std::uint32_t>(space_.depth()), 1});
  const double common = relative_ * length_of(query) * gain;
  terms.coarse_slope = std::sqrt(rest) * (1.0 + 1e-9) + common;
  terms.coarse_weight = std::sqrt(square) * (1.0 + 1e-9) * gain + common;
}

void QueryCodes::prefetch(const CodesIn& at, std::size_t row) const noexcept {
  const auto lines = [](const std::uint8_t* from, std::size_t bytes) {
    const auto* const first = from - reinterpret_cast<std::uintptr_t>(from) % 64;
    for (const auto* line = first; line < from + bytes; line += 64) __builtin_prefetch(line, 0, 3);
  };
  lines(at.codes + row * space_.stride(), space_.stride());
  lines(at.residuals + row * space_.nibble_stride(), space_.nibble_stride());
}

// From a product with the centered row, which is off by `slack` at most.
KeyBounds QueryCodes::refined_bounds(const Terms& terms, const QueryScale& scale, double product, double slack,
                                     double row_square) const noexcept {
  if (metric_ == Metric::kL2) {
    const double distance = terms.square + row_square - 2.0 * product;
    const double off = 2.0 * slack + square_error_ * row_square + 0x1p-40 * terms.square;
    return {below(-(distance + off)), above(-std::max(0.0, distance - off))};
  }
  const double score = terms.center + product;
  if (metric_ == Metric::kDot) return {below((score - slack) * scale.unscale), above((score + slack) * scale.unscale)};
  const double over = 1.0 / (scale.norm * scale.scale);
  return {below(std::max(-1.0, (score - slack) * over)), above(std::min(1.0, (score + slack) * over))};
}

bool QueryCodes::refine(const CodesIn& at, std::int32_t steps, Candidate& candidate) const noexcept {
  const auto row = static_cast<std::size_t>(candidate.row);
  const std::size_t group = row / kCodeGroup;
  const double unit = at.scales[group];
  if (!(unit > 0)) return true;
  const Terms& terms = terms_[candidate.query];
  const double over = 1.0 / (terms.refined_gain * unit), weight = at.residual_errors[group];
  const double length = double{at.lengths[group]} + double{at.errors[group]} + weight;
  const double product = steps * over / kResidualSteps;
  const double slack = terms.slack + (terms.refined_slope * length + terms.refined_weight * weight) * over;
  const double row_square = at.squares == nullptr ? 0.0 : at.squares[row];
  const double most = product + terms.center + slack - terms.distance - 0.5 * (1.0 - square_error_) * row_square;
  if (most + std::fabs(most) * 1e-12 < batch_.threshold(candidate.query)) return false;
  candidate.key = refined_bounds(terms, batch_.scale(candidate.query), product, slack, row_square);
  candidate.met_by = MetBy::kResiduals;
  return true;
}

}  // namespace fastembed::search
