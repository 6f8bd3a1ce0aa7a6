#include "search/code_scan.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "search/score.hpp"

namespace fastembed::search {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr std::int32_t kSingleLimit = 32639;  // two digits: 127 * 256 + 127
constexpr double kLeastNorm = 0x1p-40, kGreatestNorm = 0x1p40;

// For thresholds: room for a few roundings of float32 in what is multiplied and added there.
float raised(double value) noexcept { return static_cast<float>(value * (1.0 + 0x1p-20)); }

}  // namespace

std::int32_t code_limit(const KernelTable& kernels, bool single, std::size_t depth) noexcept {
  const std::size_t padded = (depth + kCodePadding - 1) / kCodePadding * kCodePadding;
  const std::size_t most = single ? (std::size_t{1} << 30) / (127 * padded) : INT32_MAX / (255 * padded);
  return std::min(single ? kSingleLimit : kernels.code_query_limit(), static_cast<std::int32_t>(most));
}

QueryCodes::QueryCodes(const KernelTable& kernels, const Request& request, const CodeSpace& space,
                       const QueryBatch& batch)
    : batch_(batch), space_(space), metric_(space.metric()), terms_(batch.size()) {
  const std::size_t depth = space.depth(), padded = space.stride(), width = batch.width();
  const auto terms = static_cast<double>(depth);
  const double wide = (terms + 64.0) * 0x1p-52;
  relative_ = 2.02 * space.turn_error() + 2.0 * kUnit + wide;
  // The estimate of a norm, its inverse, and a product.
  absolute_ = metric_ == Metric::kCosine ? (terms / 2.0 + 16.0) * kUnit * 1.01 + 2.0 * wide : 0.0;
  square_error_ = 2.0 * ((terms + 32.0) * kUnit + 2.0 * space.turn_error()) + 0x1p-19;
  const std::int32_t limit = code_limit(kernels, width == 1, depth);
  usable_ = limit >= 16 && depth <= kMostCodeDepth;
  if (!usable_) return;
  const std::size_t all = batch.panels() * width;
  panel_elements_ = width * (padded + 64);
  packed_ = support::AlignedBuffer<std::int16_t>::uninitialised(batch.panels() * panel_elements_);
  corrections_.resize(all);
  slopes_.resize(all);
  weights_.resize(all);
  units_.resize(all);
  auto columns = support::AlignedBuffer<float>::uninitialised(kCodeRows * depth);
  std::vector<std::int16_t> codes(std::max<std::size_t>(width, kCodeRows) * padded);
  for (std::size_t first = 0; first < batch.size() && usable_; first += kCodeRows) {
    const std::size_t count = std::min<std::size_t>(kCodeRows, batch.size() - first);
    double scales[kCodeRows];
    for (std::size_t j = 0; j < count; ++j) scales[j] = batch.scale(first + j).scale;
    pack_panel(kernels, request.queries, batch.first() + first, count, scales, kCodeRows, columns.data());
    space.turn(kernels, columns.data(), metric_ == Metric::kL2);
    for (std::size_t j = 0; j < count && usable_; ++j) {
      const std::size_t query = first + j;
      find_terms(query, request, terms_[query]);
      usable_ = code(query, columns.data() + j, limit, codes.data() + query % width * padded);
      const bool is_last = query % width == width - 1 || query == batch.size() - 1;
      if (!usable_ || !is_last) continue;
      const std::size_t p = query / width;
      kernels.pack_code_panel({codes.data(), packed_.data() + p * panel_elements_, corrections_.data() + p * width,
                               static_cast<std::uint32_t>(query % width + 1), static_cast<std::uint32_t>(padded),
                               static_cast<std::uint32_t>(width)});
    }
  }
}

// What does not depend on the rounding to codes.
void QueryCodes::find_terms(std::size_t query, const Request& request, Terms& terms) const {
  const QueryScale& scale = batch_.scale(query);
  const float* const q = request.queries.row(batch_.first() + query);
  const float* const mean = space_.mean();
  double product = 0, square = 0;
  for (std::size_t i = 0; i < space_.depth(); ++i) {
    product += static_cast<double>(q[i]) * mean[i];
    const double centered = static_cast<double>(q[i]) - mean[i];
    square += centered * centered;
  }
  const double norm = scale.norm * scale.scale;
  if (metric_ == Metric::kL2) {
    terms.square = square;
    terms.distance = (square * (1.0 - 0x1p-19) - scale.norm * scale.norm) / 2.0;
    return;
  }
  terms.center = product * scale.scale;
  terms.slack = norm * (absolute_ + space_.mean_norm() * (static_cast<double>(space_.depth()) + 64.0) * 0x1p-51);
  terms.over = metric_ == Metric::kDot ? scale.unscale : 1.0 / norm;
}

// Rounds a turned query, column[i * kCodeRows], to integers and finds the bounds that follow. False if it cannot be.
bool QueryCodes::code(std::size_t query, const float* column, std::int32_t limit, std::int16_t* codes) {
  const QueryScale& scale = batch_.scale(query);
  Terms& terms = terms_[query];
  const double norm = metric_ == Metric::kL2 ? std::sqrt(terms.square) : scale.norm;
  if (!scale.scannable || !(norm >= kLeastNorm && norm <= kGreatestNorm)) return false;
  double most = 0, square = 0;
  for (std::size_t i = 0; i < space_.depth(); ++i) {
    const double element = column[i * kCodeRows];
    most = std::max(most, std::fabs(element));
    square += element * element;
  }
  if (!(most > 0)) return false;
  terms.gain = limit / most;
  double rest = 0;
  for (std::size_t i = 0; i < space_.stride(); ++i) {
    const double element = i < space_.depth() ? column[i * kCodeRows] * terms.gain : 0.0;
    // Rounded to the nearest: 1.5 * 2^52 leaves no bits for fractions.
    const double rounded = (element + 0x1.8p52) - 0x1.8p52;
    rest += (element - rounded) * (element - rounded);
    codes[i] = static_cast<std::int16_t>(rounded);
  }
  const double scaled_norm = norm * scale.scale;
  const double common = relative_ * scaled_norm * terms.gain;
  terms.slope = std::sqrt(rest) * (1.0 + 1e-9) + common;
  terms.weight = std::sqrt(square) * (1.0 + 1e-9) * terms.gain + common;
  slopes_[query] = raised(terms.slope);
  weights_[query] = raised(terms.weight);
  units_[query] = static_cast<float>(terms.gain);
  return true;
}

void QueryCodes::find_keys(std::size_t p, float* keys) const noexcept {
  const std::size_t width = batch_.width(), first = p * width;
  for (std::size_t j = 0; j < width; ++j) {
    keys[j] = INFINITY;
    if (first + j >= batch_.size()) continue;
    const Terms& terms = terms_[first + j];
    const double wanted =
        (static_cast<double>(batch_.threshold(first + j)) - terms.center + terms.distance - terms.slack) * terms.gain;
    keys[j] = static_cast<float>(std::clamp(wanted - std::fabs(wanted) * 0x1p-20, -1e38, 1e38));
  }
}

KeyBounds QueryCodes::key_bounds(std::size_t query, std::int32_t product, const CodesIn& at, std::size_t group,
                                 float square) const noexcept {
  const double scale = at.scales[group];
  if (scale == 0.0) return {-INFINITY, INFINITY};
  const Terms& terms = terms_[query];
  const double step = 1.0 / (terms.gain * scale);
  const double slack = terms.slack + (terms.slope * at.lengths[group] + terms.weight * at.errors[group]) * step;
  const double value = terms.center + product * step;
  if (metric_ == Metric::kL2) {
    const double distance = terms.square + square - 2.0 * value;
    const double room = 2.0 * slack + square_error_ * square + 0x1p-19 * terms.square;
    return {below(-(distance + room)), above(-std::max(0.0, distance - room))};
  }
  const KeyBounds bounds{below((value - slack) * terms.over), above((value + slack) * terms.over)};
  if (metric_ == Metric::kDot) return bounds;
  return {std::max(bounds.lower, -1.0F - 0x1p-22F), std::min(bounds.upper, 1.0F + 0x1p-22F)};
}

}  // namespace fastembed::search
