#include "search/similarity.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/dispatch.hpp"
#include "search/batches.hpp"
#include "search/panels.hpp"
#include "search/score.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kPackedBytes = std::size_t{384} << 10;  // of a task's panels, within L2
constexpr std::size_t kRowBlockBytes = std::size_t{64} << 10;
constexpr std::size_t kRowMultiple = 24;
constexpr float kCancelled = 1.0F / 64;  // of |a|^2 + |b|^2: a squared distance below it is taken from the definition

// What the kernel's epilogue needs of every row of one side.
struct Side {
  std::vector<double> norms, scales;
  std::vector<float> factors;
  std::vector<std::uint8_t> exact;  // not zero where float32 cannot do it
  bool any_exact = false;
};

// `scaled`: the side that is packed, whose rows are multiplied by a power of two.
Side look_at(const KernelTable& kernels, Metric metric, const Matrix& rows, bool scaled) {
  Side side;
  side.norms.resize(rows.rows);
  side.scales.assign(rows.rows, 1.0);
  side.factors.resize((rows.rows + kPanelQueries - 1) / kPanelQueries * kPanelQueries);
  side.exact.assign(rows.rows, 0);
  const double range = metric == Metric::kL2 ? 0x1p55 : 0x1p100;
  for (std::size_t r = 0; r < rows.rows; ++r) {
    const double norm = side.norms[r] = exact_norm(kernels, rows.row(r), rows.depth);
    const bool good = norm == 0.0 || (norm >= 1.0 / range && norm <= range);
    if (!good) side.exact[r] = side.any_exact = true;
    double factor = 1.0;
    if (good && norm != 0.0 && metric != Metric::kL2 && scaled) side.scales[r] = std::ldexp(1.0, -std::ilogb(norm) - 1);
    if (metric == Metric::kL2) {
      factor = norm * norm;
    } else if (metric == Metric::kDot) {
      factor = 1.0 / side.scales[r];
    } else {
      factor = norm == 0.0 ? 0.0 : 1.0 / (norm * side.scales[r]);
    }
    side.factors[r] = static_cast<float>(good ? factor : 0.0);
    if (!good) side.scales[r] = 0.0;
  }
  return side;
}

class Product {
 public:
  explicit Product(const Similarity& wanted)
      : wanted_(wanted),
        kernels_(cpu::kernels()),
        // The panels are made of b, unless a is so small that packing b would take longer than the products.
        swapped_(wanted.a.rows < kPanelQueries && wanted.a.rows < wanted.b.rows),
        rows_(swapped_ ? wanted.b : wanted.a),
        columns_(swapped_ ? wanted.a : wanted.b) {}

  void compute() {
    if (wanted_.a.rows == 0 || wanted_.b.rows == 0) return;
    row_side_ = look_at(kernels_, wanted_.metric, rows_, false);
    column_side_ = look_at(kernels_, wanted_.metric, columns_, true);
    width_ = columns_.rows <= kNarrowPanelQueries ? kNarrowPanelQueries : kPanelQueries;
    const std::size_t row_bytes = rows_.depth * sizeof(float) + 1;
    group_ = std::clamp<std::size_t>(kPackedBytes / row_bytes, kPanelQueries, 1024) / kPanelQueries * kPanelQueries;
    groups_ = (columns_.rows + group_ - 1) / group_;
    const auto parts = static_cast<std::size_t>(wanted_.workers) * 4 / groups_ + 1;
    chunk_ = std::max<std::size_t>((rows_.rows + parts - 1) / parts, 10 * kRowMultiple);
    chunks_ = (rows_.rows + chunk_ - 1) / chunk_;
    block_ = std::clamp<std::size_t>(kRowBlockBytes / row_bytes, kRowMultiple, 480) / kRowMultiple * kRowMultiple;
    const double operations = static_cast<double>(rows_.rows * columns_.rows) * static_cast<double>(rows_.depth);
    Request pool;
    pool.workers = wanted_.workers;
    pool.tick = wanted_.tick;
    const int workers = std::min(useful_workers(pool, operations), static_cast<int>(groups_ * chunks_));
    run(pool, workers, operations, [this](int, const support::StopFlag& stop) { work(stop); });
  }

 private:
  void work(const support::StopFlag& stop) {
    const std::size_t most = (std::min(group_, columns_.rows) + width_ - 1) / width_ * width_;
    auto packed = support::AlignedBuffer<float>::uninitialised(most * rows_.depth);
    std::vector<float> turned(swapped_ ? block_ * width_ : 0);
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t task = next_.fetch_add(1, std::memory_order_relaxed);
      if (task >= groups_ * chunks_) return;
      const std::size_t column = task / chunks_ * group_, count = std::min(group_, columns_.rows - column);
      for (std::size_t p = 0; p < count; p += width_) {
        pack_panel(columns_, column + p, std::min<std::size_t>(width_, count - p),
                   column_side_.scales.data() + column + p, width_, packed.data() + p * rows_.depth);
      }
      const std::size_t begin = task % chunks_ * chunk_, end = std::min(rows_.rows, begin + chunk_);
      for (std::size_t row = begin; row < end && !stop.load(std::memory_order_relaxed); row += block_) {
        const std::size_t rows = std::min(block_, end - row);
        for (std::size_t p = 0; p < count; p += width_) {
          multiply(row, rows, column + p, std::min<std::size_t>(width_, count - p), packed.data() + p * rows_.depth,
                   turned.data());
        }
      }
    }
  }

  void multiply(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns, const float* panel,
                float* turned) const {
    float* const out = swapped_ ? turned : wanted_.out + row * wanted_.out_stride + column;
    const std::size_t out_stride = swapped_ ? width_ : wanted_.out_stride;
    const bool squared = wanted_.metric == Metric::kL2;
    kernels_.multiply_panel_f32(
        {rows_.row(row), rows_.stride, panel, row_side_.factors.data() + row, column_side_.factors.data() + column, out,
         out_stride, static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(rows_.depth),
         static_cast<std::uint32_t>(width_), static_cast<std::uint32_t>(columns), squared ? 1U : 0U});
    if (squared) repair_distances(row, rows, column, columns, out, out_stride);
    if (row_side_.any_exact || column_side_.any_exact) repair_scales(row, rows, column, columns, out, out_stride);
    if (!swapped_) return;
    for (std::size_t c = 0; c < columns; ++c) {
      float* const to = wanted_.out + (column + c) * wanted_.out_stride + row;
      for (std::size_t r = 0; r < rows; ++r) to[r] = turned[r * width_ + c];
    }
  }

  [[nodiscard]] float definition(std::size_t row, std::size_t column) const {
    return key_to_score(wanted_.metric, exact_key(kernels_, wanted_.metric, rows_.row(row), row_side_.norms[row],
                                                  columns_.row(column), rows_.depth));
  }

  // Distances much smaller than the vectors, which lost their digits.
  void repair_distances(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns, float* out,
                        std::size_t out_stride) const {
    for (std::size_t r = 0; r < rows; ++r) {
      float* const line = out + r * out_stride;
      const float square = row_side_.factors[row + r];
      const float* const squares = column_side_.factors.data() + column;
      int lost = 0;
      for (std::size_t c = 0; c < columns; ++c) lost |= line[c] < (square + squares[c]) * kCancelled ? 1 : 0;
      if (lost == 0) continue;
      for (std::size_t c = 0; c < columns; ++c) {
        if (line[c] < (square + squares[c]) * kCancelled) line[c] = definition(row + r, column + c);
      }
    }
  }

  // Rows and columns of NaN, infinity, or out of the range that float32 products can stand.
  void repair_scales(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns, float* out,
                     std::size_t out_stride) const {
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < columns; ++c) {
        if ((row_side_.exact[row + r] | column_side_.exact[column + c]) == 0) continue;
        out[r * out_stride + c] = definition(row + r, column + c);
      }
    }
  }

  const Similarity& wanted_;
  const KernelTable& kernels_;
  bool swapped_;
  Matrix rows_, columns_;
  Side row_side_, column_side_;
  std::size_t width_ = 0, group_ = 0, groups_ = 0, chunk_ = 0, chunks_ = 0, block_ = 0;
  std::atomic<std::size_t> next_{0};
};

// Calls each(row) for all rows, shared among workers.
template <class Each>
void for_rows(std::size_t rows, double operations, int workers, const std::function<void()>& tick, const Each& each) {
  constexpr std::size_t kStep = 256;
  if (rows == 0) return;
  Request pool;
  pool.workers = workers;
  pool.tick = tick;
  std::atomic<std::size_t> next{0};
  const int useful = std::min(useful_workers(pool, operations), static_cast<int>((rows + kStep - 1) / kStep));
  run(pool, std::max(useful, 1), operations, [&](int, const support::StopFlag& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t begin = next.fetch_add(kStep, std::memory_order_relaxed);
      if (begin >= rows) return;
      for (std::size_t r = begin; r < std::min(rows, begin + kStep); ++r) each(r);
    }
  });
}

double elements(const Matrix& rows) { return static_cast<double>(rows.rows) * static_cast<double>(rows.depth); }

}  // namespace

void similarity(const Similarity& wanted) { Product(wanted).compute(); }

void paired_similarity(const Similarity& wanted) {
  const KernelTable& kernels = cpu::kernels();
  for_rows(wanted.a.rows, 3 * elements(wanted.a), wanted.workers, wanted.tick, [&](std::size_t r) {
    const double norm = wanted.metric == Metric::kCosine ? exact_norm(kernels, wanted.a.row(r), wanted.a.depth) : 0.0;
    const float key = exact_key(kernels, wanted.metric, wanted.a.row(r), norm, wanted.b.row(r), wanted.a.depth);
    wanted.out[r] = key_to_score(wanted.metric, key);
  });
}

void row_norms(const Matrix& rows, float* norms, int workers, const std::function<void()>& tick) {
  const KernelTable& kernels = cpu::kernels();
  for_rows(rows.rows, elements(rows), workers, tick, [&](std::size_t r) {
    const double norm = exact_norm(kernels, rows.row(r), rows.depth);
    norms[r] = std::isfinite(norm) ? static_cast<float>(norm) : NAN;
  });
}

void normalize_rows(const Matrix& rows, float* out, std::size_t out_stride, int workers,
                    const std::function<void()>& tick) {
  const KernelTable& kernels = cpu::kernels();
  for_rows(rows.rows, 2 * elements(rows), workers, tick, [&](std::size_t r) {
    const float* const from = rows.row(r);
    float* const to = out + r * out_stride;
    const double norm = exact_norm(kernels, from, rows.depth);
    const double divisor = norm == 0.0 ? 1.0 : norm;
    for (std::size_t i = 0; i < rows.depth; ++i) to[i] = static_cast<float>(from[i] / divisor);
  });
}

}  // namespace fastembed::search
