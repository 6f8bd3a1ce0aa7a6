#include "search/panels.hpp"

#include <algorithm>
#include <cmath>

#include "search/coded_blocks.hpp"
#include "search/score.hpp"

namespace fastembed::search {

void pack_panel(const KernelTable& kernels, const Matrix& rows, std::size_t first, std::size_t columns,
                const double* scales, std::size_t width, float* out) {
  float factors[kPanelQueries];
  bool in_float = true;
  for (std::size_t j = 0; j < columns; ++j) {
    factors[j] = static_cast<float>(scales[j]);
    in_float &= scales[j] == 0.0 || (scales[j] >= 0x1p-126 && scales[j] <= 0x1p127);
  }
  if (in_float && width > 1) {
    kernels.pack_panel_f32(rows.row(first), rows.stride, columns, rows.depth, factors, width, out);
    return;
  }
  std::fill_n(out, width * rows.depth, 0.0F);
  for (std::size_t j = 0; j < columns; ++j) {
    const float* const row = rows.row(first + j);
    for (std::size_t i = 0; i < rows.depth; ++i) out[i * width + j] = static_cast<float>(row[i] * scales[j]);
  }
}

QueryBatch::QueryBatch(const KernelTable& kernels, const Request& request, const Bounds& bounds, std::size_t first,
                       std::size_t count)
    : first_(first),
      depth_(request.index.depth),
      width_(scans_singly(request, count)   ? 1
             : count <= kNarrowPanelQueries ? kNarrowPanelQueries
                                            : kPanelQueries),
      packed_(support::AlignedBuffer<float>::uninitialised((count + width_ - 1) / width_ * width_ * depth_)) {
  std::vector<double> factors(count);
  scales_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    scales_.push_back(bounds.query_scale(exact_norm(kernels, request.queries.row(first + i), depth_)));
    factors[i] = scales_[i].scannable ? scales_[i].scale : 0.0;
  }
  const std::size_t all = (count + width_ - 1) / width_ * width_;
  thresholds_ = std::make_unique<std::atomic<float>[]>(all);
  const float open = request.has_threshold ? score_to_key(request.metric, request.threshold) : NAN;
  for (std::size_t i = 0; i < all; ++i) {
    const bool scanned = i < count && scales_[i].scannable;
    thresholds_[i].store(scanned ? bounds.threshold(open, scales_[i]) : INFINITY, std::memory_order_relaxed);
  }
  for (std::size_t p = 0; p * width_ < count; ++p) {
    pack_panel(kernels, request.queries, first + p * width_, std::min(width_, count - p * width_),
               factors.data() + p * width_, width_, packed_.data() + p * width_ * depth_);
  }
  if (width_ == 1 || (request.codes == nullptr && !codes_on_the_way(request))) return;
  scaled_ = support::AlignedBuffer<float>::uninitialised(count * depth_);
  for (std::size_t j = 0; j < count; ++j) {
    pack_panel(kernels, request.queries, first + j, 1, factors.data() + j, 1, scaled_.data() + j * depth_);
  }
}

}  // namespace fastembed::search
