#include "search/short_search.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <optional>

#include "search/bounds.hpp"
#include "search/panels.hpp"
#include "search/score.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kMostRows = 2048, kMostDepth = 2048, kMostElements = std::size_t{1} << 19;  // 2 MiB of rows
constexpr std::size_t kMostResults = 64, kMostCandidates = 256;
constexpr float kLeastNorm = 0x1p-50F, kGreatestNorm = 0x1p57F;  // whose squares float32 can be relied on for

// All that a search writes but its results.
struct Desk {
  alignas(64) float query[kMostDepth];
  float products[kMostRows];
  float norms[kMostRows];
  float squares[kMostRows];
  float estimates[kMostRows];
  float greatest[kMostRows / 4 + kRowPadding];
  std::uint32_t candidates[kMostCandidates];
  Exact found[kMostCandidates];
};

bool is_short(const Request& request, std::size_t k) noexcept {
  const StoredRows& index = request.index;
  return request.queries.rows == 1 && index.rows <= kMostRows && index.depth <= kMostDepth &&
         index.rows * index.depth <= kMostElements && k <= kMostResults && index.is_float32() &&
         request.mask == nullptr && request.query_masks == nullptr && request.self_first < 0 &&
         request.codes == nullptr && request.counts == nullptr;
}

class ShortSearch {
 public:
  ShortSearch(const KernelTable& kernels, const Request& request, std::size_t k, const QueryScale& scale, Desk& desk)
      : kernels_(kernels),
        request_(request),
        bounds_(request.metric, request.index.depth),
        k_(k),
        scale_(scale),
        desk_(desk),
        norms_(request.norms != nullptr ? request.norms : desk.norms) {}

  // How many results desk.found holds then, best first. None where bounds do not hold, or candidates do not fit.
  std::optional<std::size_t> search() {
    if (!bounds_.can_scan(kGreatestNorm) || !estimate()) return std::nullopt;
    const std::size_t blocks = (request_.index.rows + kEstimateBlock - 1) / kEstimateBlock;
    const std::size_t count = candidates(blocks * kEstimateBlock);
    if (count > kMostCandidates) return std::nullopt;
    return score(count);
  }

 private:
  bool estimate() noexcept;
  std::size_t candidates(std::size_t padded) noexcept;
  std::size_t score(std::size_t count) noexcept;

  const KernelTable& kernels_;
  const Request& request_;
  Bounds bounds_;
  std::size_t k_;
  QueryScale scale_;
  Desk& desk_;
  const float* norms_;
};

bool ShortSearch::estimate() noexcept {
  const StoredRows& index = request_.index;
  const bool known = request_.norms != nullptr;
  kernels_.scan_rows_f32(index.row(0), index.stride / sizeof(float), index.rows, index.depth, desk_.query, false,
                         desk_.products, known ? nullptr : desk_.squares);
  return kernels_.estimate_rows_f32({.products = desk_.products,
                                     .known_norms = request_.norms,
                                     .squares = desk_.squares,
                                     .norms = desk_.norms,
                                     .estimates = desk_.estimates,
                                     .greatest = desk_.greatest,
                                     .count = index.rows,
                                     .terms = bounds_.row_terms(),
                                     .least_norm = kLeastNorm,
                                     .greatest_norm = kGreatestNorm});
}

// The rows that may be among the k best. k of the greatest of four estimates each are good, and near enough to the k
// best of all; the least key that their rows may have is one that k rows reach.
std::size_t ShortSearch::candidates(std::size_t padded) noexcept {
  const std::size_t rows = request_.index.rows;
  float threshold = -INFINITY;
  if (request_.has_threshold) {
    threshold = bounds_.threshold(score_to_key(request_.metric, request_.threshold), scale_);
  }
  const float good = rows < 4 * k_ ? -INFINITY : kernels_.kth_greatest_f32(desk_.greatest, padded / 4, k_);
  if (good > -INFINITY) {
    const std::size_t count =
        kernels_.rows_at_least_f32(desk_.estimates, padded, good, desk_.candidates, kMostCandidates);
    if (count > kMostCandidates) return count;
    float key = INFINITY;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t row = desk_.candidates[i];
      key = std::min(key, bounds_.key_bounds(desk_.products[row], norms_[row], scale_).lower);
    }
    threshold = std::max(threshold, bounds_.threshold(key, scale_));
  }
  // An estimate has two roundings that the bound does not count; -FLT_MAX admits all rows but the padding.
  const float least = std::max(-FLT_MAX, threshold - std::fabs(threshold) * 0x1p-20F - FLT_MIN);
  return kernels_.rows_at_least_f32(desk_.estimates, padded, least, desk_.candidates, kMostCandidates);
}

std::size_t ShortSearch::score(std::size_t count) noexcept {
  const float* const query = request_.queries.row(0);
  const float admitted = request_.has_threshold ? score_to_key(request_.metric, request_.threshold) : -INFINITY;
  std::size_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = static_cast<std::int64_t>(desk_.candidates[i]);
    const float key = exact_key(kernels_, request_.metric, query, scale_.norm, request_.index.row(desk_.candidates[i]),
                                request_.index.depth);
    if (key >= admitted) desk_.found[found++] = {key, request_.rank(row), row};
  }
  const std::size_t best = std::min(k_, found);
  std::partial_sort(desk_.found, desk_.found + best, desk_.found + found, better);
  return best;
}

}  // namespace

bool short_topk(const KernelTable& kernels, const Request& request, std::size_t k, float* scores, std::int64_t* rows) {
  if (!is_short(request, k)) return false;
  const std::size_t depth = request.index.depth;
  Desk desk;  // NOLINT(cppcoreguidelines-pro-type-member-init): 50 KiB
  const QueryScale scale =
      Bounds(request.metric, depth).query_scale(exact_norm(kernels, request.queries.row(0), depth));
  if (!scale.scannable) return false;
  pack_panel(kernels, request.queries, 0, 1, &scale.scale, 1, desk.query);
  ShortSearch search(kernels, request, k, scale, desk);
  const std::optional<std::size_t> found = search.search();
  if (!found) return false;
  for (std::size_t i = 0; i < k; ++i) {
    scores[i] = key_to_score(request.metric, i < *found ? desk.found[i].key : -INFINITY);
    rows[i] = i < *found ? desk.found[i].row : -1;
  }
  return true;
}

}  // namespace fastembed::search
