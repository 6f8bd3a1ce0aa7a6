#include "search/panels.hpp"

#include <algorithm>
#include <cmath>

#include "search/score.hpp"

namespace fastembed::search {

void pack_panel(const Matrix& rows, std::size_t first, std::size_t columns, const double* scales, std::size_t width,
                float* out) {
  constexpr std::size_t kStep = 16;  // a cache line of every row at a time
  const auto in_float = [](double scale) { return scale == 0.0 || (scale >= 0x1p-126 && scale <= 0x1p127); };
  for (std::size_t begin = 0; begin < rows.depth; begin += kStep) {
    const std::size_t end = std::min(rows.depth, begin + kStep);
    for (std::size_t j = 0; j < columns; ++j) {
      const float* const row = rows.row(first + j);
      const double scale = scales[j];
      if (in_float(scale)) {  // a power of two: the same result, sooner
        const auto factor = static_cast<float>(scale);
        for (std::size_t i = begin; i < end; ++i) out[i * width + j] = row[i] * factor;
      } else {
        for (std::size_t i = begin; i < end; ++i) out[i * width + j] = static_cast<float>(row[i] * scale);
      }
    }
  }
  if (columns == width) return;
  for (std::size_t i = 0; i < rows.depth; ++i) std::fill(out + i * width + columns, out + (i + 1) * width, 0.0F);
}

QueryBatch::QueryBatch(const KernelTable& kernels, const Request& request, const Bounds& bounds, std::size_t first,
                       std::size_t count)
    : first_(first),
      depth_(request.index.depth),
      width_(count <= kSingleQueries        ? 1
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
    pack_panel(request.queries, first + p * width_, std::min(width_, count - p * width_), factors.data() + p * width_,
               width_, packed_.data() + p * width_ * depth_);
  }
}

}  // namespace fastembed::search
