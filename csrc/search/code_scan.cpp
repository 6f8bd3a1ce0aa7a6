#include "search/code_scan.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cfloat>
#include <cmath>
#include <type_traits>

#include "search/batches.hpp"
#include "search/score.hpp"

namespace fastembed::search {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr std::int32_t kSingleLimit = 32639;  // two digits: 127 * 256 + 127
constexpr double kGreatestKey = 1e38;
constexpr double kLeastNorm = 0x1p-40, kGreatestNorm = 0x1p40;
// Medium codes pay where memory is the limit, and products and widening take next to no time beside it: codes that no
// cache holds, on matrix tiles, with the panel and two strips in L1.
constexpr std::size_t kLeastMediumBytes = std::size_t{64} << 20, kMostMediumRoom = std::size_t{40} << 10;
constexpr double kCodingOperations = 200;  // multiply-adds that take as long as to turn and round an element

// For thresholds: room for a few roundings of float32 in what is multiplied and added there.
float raised(double value) noexcept { return static_cast<float>(value * (1.0 + 0x1p-20)); }

// An element, which a float holds, rounded to bfloat16.
double to_bfloat16(double element) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(element));
  return std::bit_cast<float>((bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U);
}

}  // namespace

std::int32_t code_limit(const KernelTable& kernels, bool single, std::size_t depth) noexcept {
  const std::size_t padded = (depth + kCodePadding - 1) / kCodePadding * kCodePadding;
  const std::size_t most = single ? (std::size_t{1} << 30) / (127 * padded) : INT32_MAX / (256 * padded);
  return std::min(single ? kSingleLimit : kernels.code_query_limit(), static_cast<std::int32_t>(most));
}

int code_query_bits(const KernelTable& kernels, CodeKind kind, bool single, std::size_t depth) noexcept {
  if (kind == CodeKind::kBf16) return single ? 32 : static_cast<int>(kernels.bf16_query_bits());
  return static_cast<int>(std::bit_width(static_cast<unsigned>(code_limit(kernels, single, depth)))) + 1;
}

int code_row_bits(const KernelTable& kernels, const Codes& codes, std::size_t queries) noexcept {
  if (codes.space->kind() == CodeKind::kBf16) return 16;
  if (queries <= kSingleCodedQueries) return codes.at.coarse == nullptr ? 8 : 4;
  if (queries > kPanelQueries || codes.at.quarters == nullptr || !kernels.prefers_split()) return 8;
  const std::size_t width = queries <= kNarrowPanelQueries ? kNarrowPanelQueries : kPanelQueries;
  const std::size_t row_bytes = 2 * codes.space->nibble_stride();
  const bool in_memory = codes.rows * codes.space->stride() >= kLeastMediumBytes;
  return in_memory && (width + 2 * kMediumStrip) * row_bytes <= kMostMediumRoom ? 6 : 8;
}

QueryCodes::QueryCodes(const KernelTable& kernels, const Request& request, const CodeSpace& space,
                       const QueryBatch& batch)
    : batch_(batch), space_(space), metric_(space.metric()), terms_(batch.size()) {
  const std::size_t depth = space.depth(), width = batch.width();
  const auto terms = static_cast<double>(depth);
  const double wide = (terms + 64.0) * 0x1p-52;
  const bool is_int8 = space.kind() == CodeKind::kInt8;
  relative_ = 2.02 * space.turn_error() + 2.0 * kUnit + wide;
  // The estimate of a norm, its inverse, and a product.
  absolute_ = metric_ == Metric::kCosine ? (terms / 2.0 + 16.0) * kUnit * 1.01 + 2.0 * wide : 0.0;
  square_error_ = 2.0 * ((terms + 32.0) * kUnit + 2.0 * space.turn_error()) + 0x1p-19;
  // See CodeScan: exact in int32; in float32 what every step may lose, and underflow where both lengths are above 1.
  sum_error_ = is_int8 ? 0.0 : (terms + 32.0) * 2.0 * kUnit * 1.01 + 0x1p-60;
  query_bits_ = code_query_bits(kernels, space.kind(), width == 1, depth);
  if (is_int8) limit_ = code_limit(kernels, width == 1, depth);
  usable_ = depth <= kMostCodeDepth && (!is_int8 || limit_ >= 16);
  if (!usable_) return;
  const std::size_t all = batch.panels() * width;
  panel_elements_ = width * (space.padded() + 64) * (is_int8 ? 1 : 2);
  packed_ = support::AlignedBuffer<std::int16_t>::uninitialised(batch.panels() * panel_elements_);
  corrections_.resize(all);
  slopes_.resize(all);
  weights_.resize(all);
  units_.resize(all);
  if (request.codes != nullptr && request.codes->at.residuals != nullptr) {
    nibble_blocks_ = (depth + kNibbleBlock - 1) / kNibbleBlock;
    refined_.resize(batch.size() * nibble_blocks_ * kNibbleBlock);
  }
  if (refines()) {
    const CodesIn& at = request.codes->at;
    const bool takes_medium = request.medium.value_or(code_row_bits(kernels, *request.codes, batch.size()) == 6);
    has_partial_ = width == 1 ? at.coarse != nullptr : takes_medium && at.quarters != nullptr && batch.panels() == 1;
  }
  if (has_partial_ && width == 1) {
    coarse_bytes_ = (depth + 128 + 63) / 64 * 64;
    coarse_ = support::AlignedBuffer<std::int8_t>::uninitialised(batch.size() * coarse_bytes_);
    coarse_corrections_.resize(batch.size());
  }
  if (is_int8) {
    code_all<std::int16_t>(kernels, request);
  } else {
    code_all<float>(kernels, request);
  }
}

// Panel by panel, by as many workers as they are worth.
template <class Code>
void QueryCodes::code_all(const KernelTable& kernels, const Request& request) {
  const double operations = kCodingOperations * static_cast<double>(batch_.size() * space_.depth());
  std::atomic<std::size_t> next{0};
  std::atomic<bool> all_coded{true};
  run(request, useful_workers(request, operations), operations, [&](int, const support::StopFlag& stop) {
    auto columns = support::AlignedBuffer<float>::uninitialised(kCodeRows * space_.depth());
    std::vector<Code> codes(std::max<std::size_t>(batch_.width(), kCodeRows) * space_.padded());
    while (all_coded.load(std::memory_order_relaxed) && !stop.load(std::memory_order_relaxed)) {
      const std::size_t p = next.fetch_add(1, std::memory_order_relaxed);
      if (p >= batch_.panels()) return;
      if (!code_panel(kernels, request, p, columns.data(), codes.data())) all_coded.store(false);
    }
  });
  usable_ = all_coded.load();
}

// False where a query cannot be coded.
template <class Code>
bool QueryCodes::code_panel(const KernelTable& kernels, const Request& request, std::size_t panel, float* columns,
                            Code* codes) {
  const std::size_t begin = panel * batch_.width(), end = std::min(batch_.size(), begin + batch_.width());
  for (std::size_t first = begin; first < end; first += kCodeRows) {
    const std::size_t count = std::min<std::size_t>(kCodeRows, end - first);
    double scales[kCodeRows];
    for (std::size_t j = 0; j < count; ++j) scales[j] = batch_.scale(first + j).scale;
    pack_panel(kernels, request.queries, batch_.first() + first, count, scales, kCodeRows, columns);
    space_.turn(kernels, columns, metric_ == Metric::kL2);
    for (std::size_t j = 0; j < count; ++j) {
      const std::size_t query = first + j;
      find_terms(query, request, terms_[query]);
      if (!code(kernels, query, columns + j, codes + (query - begin) * space_.padded())) return false;
    }
  }
  pack(kernels, codes, panel, end - begin);
  return true;
}

void QueryCodes::pack(const KernelTable& kernels, const std::int16_t* codes, std::size_t panel, std::size_t count) {
  const std::size_t width = batch_.width();
  kernels.pack_code_panel({codes, packed_.data() + panel * panel_elements_, corrections_.data() + panel * width,
                           static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(space_.padded()),
                           static_cast<std::uint32_t>(width)});
}

void QueryCodes::pack(const KernelTable& kernels, const float* codes, std::size_t panel, std::size_t count) {
  kernels.pack_bf16_panel({codes, packed_.data() + panel * panel_elements_, static_cast<std::uint32_t>(count),
                           static_cast<std::uint32_t>(space_.padded()), static_cast<std::uint32_t>(batch_.width())});
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
}

// Rounds a turned query, column[i * kCodeRows], as the kernels take it and finds the bounds that follow. False if it
// cannot be.
template <class Code>
bool QueryCodes::code(const KernelTable& kernels, std::size_t query, const float* column, Code* codes) {
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
  constexpr bool kIsInteger = std::is_integral_v<Code>;
  // As floats, a power of two brings the greatest element to 1 .. 2.
  terms.gain = kIsInteger ? limit_ / most : std::ldexp(1.0, -std::ilogb(most));
  const auto round = [this](double element) {
    // Rounded to the nearest: 1.5 * 2^52 leaves no bits for fractions.
    if constexpr (kIsInteger) return (element + 0x1.8p52) - 0x1.8p52;
    return query_bits_ == 16 ? to_bfloat16(element) : double{static_cast<float>(element)};
  };
  double rest = 0;
  for (std::size_t i = 0; i < space_.padded(); ++i) {
    const double element = i < space_.depth() ? column[i * kCodeRows] * terms.gain : 0.0;
    const double rounded = round(element);
    rest += (element - rounded) * (element - rounded);
    codes[i] = static_cast<Code>(rounded);
  }
  const double length = std::sqrt(square) * (1.0 + 1e-9) * terms.gain;
  const double common = relative_ * length_of(query) * terms.gain;
  const double delta = std::sqrt(rest) * (1.0 + 1e-9);
  terms.slope = delta + common + sum_error_ * (length + delta);
  terms.weight = length + common;
  slopes_[query] = raised(terms.slope);
  weights_[query] = raised(terms.weight);
  units_[query] = static_cast<float>(terms.gain);
  if (refines()) refine_query(query, column, most, square);
  if (coarse_bytes_ != 0) round_coarsely(kernels, query, column, most, square);
  return true;
}

CodeThresholds QueryCodes::thresholds(std::size_t query, float key, float unit, const CodesIn& at,
                                      const float* row_terms, std::size_t rows, bool coarse) const noexcept {
  CodeThresholds step{at.scales,       at.lengths, at.errors,
                      row_terms,       key,        slopes_[query],
                      weights_[query], unit,       static_cast<std::uint32_t>(rows)};
  if (!coarse) return step;
  // Products are of the query with another gain, and in other units.
  const Terms& terms = terms_[query];
  const auto part = static_cast<float>(terms.coarse_gain / terms.gain / kCoarseUnit);
  step.errors = at.coarse_errors;
  step.key *= part;
  step.unit *= part;
  // Of a coarse row's length the code's is known, and twice its error is at least the rest.
  step.slope = raised(terms.coarse_slope / kCoarseUnit);
  step.weight = raised((terms.coarse_weight + 2.0 * terms.coarse_slope) / kCoarseUnit);
  return step;
}

// The query is the same one, and so is its error; otherwise as above.
void QueryCodes::find_medium(const float* keys, const float* units, MediumTerms& to) const noexcept {
  constexpr float kPart = 1.0F / kMediumUnit;
  for (std::size_t j = 0; j < batch_.width(); ++j) {
    to.keys[j] = keys[j] * kPart;
    to.units[j] = units[j] * kPart;
    to.slopes[j] = slopes_[j] * kPart;
    to.weights[j] = raised((double{weights_[j]} + 2.0 * double{slopes_[j]}) / kMediumUnit);
  }
}

void QueryCodes::find_keys(std::size_t p, float* thresholds, float* keys, float* units) const noexcept {
  const std::size_t width = batch_.width(), first = p * width;
  bool same = true;
  for (std::size_t j = 0; j < width; ++j) {
    const float threshold = batch_.threshold(first + j);
    same &= thresholds[j] == threshold;
    thresholds[j] = threshold;
  }
  if (same) return;
  for (std::size_t j = 0; j < width; ++j) {
    keys[j] = INFINITY;
    units[j] = units_[first + j];
    if (first + j >= batch_.size()) continue;
    const Terms& terms = terms_[first + j];
    const double wanted =
        (static_cast<double>(thresholds[j]) - terms.center + terms.distance - terms.slack) * terms.gain;
    const double lowered = wanted - std::fabs(wanted) * 0x1p-20;
    keys[j] = static_cast<float>(std::clamp(lowered, -kGreatestKey, kGreatestKey));
    // What float32 cannot hold is below whatever a row's term could make up for, or may be: all rows reach it.
    if (lowered < -kGreatestKey) units[j] = 0.0F;
  }
}

}  // namespace fastembed::search
