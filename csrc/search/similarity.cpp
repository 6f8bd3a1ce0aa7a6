#include "search/similarity.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "cpu/dispatch.hpp"
#include "search/batches.hpp"
#include "search/panels.hpp"
#include "search/score.hpp"
#include "search/stored_rows.hpp"
#include "support/float_environment.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kPackedBytes = std::size_t{384} << 10;  // of a task's panels, within L2
constexpr std::size_t kRowBlockBytes = std::size_t{128} << 10;
constexpr std::size_t kCachedBytes = std::size_t{2} << 20;
constexpr double kLeastSplitWork = 1e8;  // multiply-adds; for fewer, making the parts takes longer than they save
constexpr std::size_t kSplitRowBytes = std::size_t{8} << 20;       // of rows in parts, which all workers read
constexpr std::size_t kSplitColumnBytes = std::size_t{768} << 10;  // of a task's columns in parts, within L2
constexpr std::size_t kStreamedBytes = std::size_t{32} << 20;      // of results
constexpr std::size_t kLine = 16;                                  // floats
constexpr std::size_t kRowMultiple = 24;
constexpr std::size_t kSingleRows = 4;   // of a: up to them, b is read once a row, from the cache
constexpr float kCancelled = 1.0F / 64;  // of |a|^2 + |b|^2: a squared distance below it is taken from the definition

// What the kernel's epilogue needs of consecutive rows of one side.
struct Terms {
  explicit Terms(std::size_t rows)
      : factors(tile_round_up(rows, kPanelQueries)),
        unscales(factors.size()),
        float_scales(rows),
        scales(rows),
        exact(rows) {}

  std::vector<float> factors;       // of the product; l2: squared norms
  std::vector<float> unscales;      // 1 / scales
  std::vector<float> float_scales;  // scales
  std::vector<double> scales;       // of the rows when they are packed: powers of two
  std::vector<std::uint8_t> exact;  // not zero where float32 cannot do it
  bool any_exact = false;
};

// All pairs, in tasks of a group of columns, packed into panels, by a chunk of rows.
class Product {
 public:
  explicit Product(const Similarity& wanted)
      : wanted_(wanted),
        kernels_(cpu::kernels()),
        // The panels are made of b, unless a is so small that packing b would take longer than the products.
        swapped_(wanted.a.rows < kPanelQueries && wanted.a.rows < wanted.b.rows),
        single_(swapped_ && wanted.a.rows <= kSingleRows),
        rows_(swapped_ ? wanted.b : wanted.a),
        columns_(swapped_ ? wanted.a : wanted.b),
        split_(!swapped_ && rows_.rows >= kSplitBlock && columns_.rows >= kSplitBlock &&
               wanted.split.value_or(kernels_.prefers_split() && rows_.depth >= kSplitDepth &&
                                     operations() >= kLeastSplitWork)),
        from_memory_(rows_.rows * rows_.stride * sizeof(float) > kCachedBytes),
        // Squared distances are looked at again.
        streams_(wanted.metric != Metric::kL2 && wanted.a.rows * wanted.b.rows * sizeof(float) >= kStreamedBytes &&
                 wanted.out_stride % kLine == 0 &&
                 reinterpret_cast<std::uintptr_t>(wanted.out) % (kLine * sizeof(float)) == 0) {}

  void compute() {
    if (wanted_.a.rows == 0 || wanted_.b.rows == 0) return;
    Request pool;
    pool.workers = wanted_.workers;
    pool.tick = wanted_.tick;
    const std::size_t row_bytes = rows_.depth * sizeof(float) + 1, multiple = split_ ? kSplitBlock : kRowMultiple;
    block_ = std::clamp<std::size_t>(kRowBlockBytes / row_bytes, multiple, 960) / multiple * multiple;
    if (split_) return compute_split(pool, operations());
    width_ = columns_.rows <= kNarrowPanelQueries ? kNarrowPanelQueries : kPanelQueries;
    group_ = std::clamp<std::size_t>(kPackedBytes / row_bytes, kPanelQueries, 1024) / kPanelQueries * kPanelQueries;
    groups_ = (columns_.rows + group_ - 1) / group_;
    const auto parts = static_cast<std::size_t>(wanted_.workers) * 4 / groups_ + 1;
    chunk_ = std::max<std::size_t>((rows_.rows + parts - 1) / parts, 10 * kRowMultiple);
    chunks_ = (rows_.rows + chunk_ - 1) / chunk_;
    const int workers = std::min(useful_workers(pool, operations()), static_cast<int>(groups_ * chunks_));
    run(pool, workers, operations(), [this](int, const support::StopFlag& stop) { work(stop); });
  }

 private:
  // One worker's memory.
  struct Room {
    Room(std::size_t rows, std::size_t columns, std::size_t packed_floats, std::size_t turned_floats)
        : row_terms(rows),
          column_terms(columns),
          packed(support::AlignedBuffer<float>::uninitialised(packed_floats)),
          turned(turned_floats) {}
    Terms row_terms, column_terms;
    support::AlignedBuffer<float> packed;
    std::vector<float> turned;  // results with rows and columns swapped
  };
  // Consecutive vectors in parts of bfloat16.
  struct SplitVectors {
    SplitVectors(std::size_t vectors, std::size_t depth)
        : terms(vectors), parts(support::AlignedBuffer<std::uint16_t>::uninitialised(split_elements(vectors, depth))) {}
    Terms terms;
    support::AlignedBuffer<std::uint16_t> parts;
  };

  [[nodiscard]] double operations() const noexcept {
    return static_cast<double>(rows_.rows * columns_.rows) * static_cast<double>(rows_.depth);
  }
  void look_at(const Matrix& rows, std::size_t first, std::size_t count, bool packed, Terms& terms) const;
  void find_terms(const Matrix& rows, std::size_t first, std::size_t count, bool packed, Terms& terms) const;
  void work(const support::StopFlag& stop);
  void multiply(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns, std::size_t panel,
                Room& room) const;
  void compute_split(const Request& pool, double operations);
  void split_rows(std::size_t first, std::size_t end, const support::StopFlag& stop);
  void work_split(std::size_t first, std::size_t end, std::size_t parts, const support::StopFlag& stop);
  void split(const Matrix& from, std::size_t first, std::size_t count, bool as_columns, SplitVectors& to) const;
  void multiply_split(std::size_t row, std::size_t rows, const SplitVectors& of_rows, std::size_t column,
                      std::size_t columns, const SplitVectors& of_columns) const;
  void multiply_singly(std::size_t row, std::size_t rows, Room& room) const;
  [[nodiscard]] float definition(std::size_t row, std::size_t column) const;
  void repair(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns, std::size_t panel,
              const Terms& row_terms, const Terms& column_terms, float* out, std::size_t out_stride) const;

  const Similarity& wanted_;
  const KernelTable& kernels_;
  bool swapped_, single_;
  Matrix rows_, columns_;
  bool split_;  // in parts of bfloat16
  bool from_memory_;
  bool streams_;  // results too large for a cache
  std::size_t width_ = 0, group_ = 0, groups_ = 0, chunk_ = 0, chunks_ = 0, block_ = 0;
  std::atomic<std::size_t> next_{0};
  std::vector<std::unique_ptr<SplitVectors>> split_blocks_;  // of `block_` rows
};

// Fills the terms of rows whose squared norms are in `terms.factors`.
void Product::find_terms(const Matrix& rows, std::size_t first, std::size_t count, bool packed, Terms& terms) const {
  float* const factors = terms.factors.data();
  int doubtful = 0;
  for (std::size_t r = 0; r < count; ++r) doubtful |= factors[r] >= 0x1p-100F && factors[r] <= 0x1p100F ? 0 : 1;
  terms.any_exact = false;
  if (doubtful == 0 && !packed) {
    if (wanted_.metric == Metric::kCosine) {
      for (std::size_t r = 0; r < count; ++r) factors[r] = 1.0F / std::sqrt(factors[r]);
    } else if (wanted_.metric == Metric::kDot) {
      std::fill_n(factors, count, 1.0F);
    }
    std::fill_n(terms.exact.begin(), count, std::uint8_t{0});
    return;
  }
  for (std::size_t r = 0; r < count; ++r) {
    double square = factors[r];
    if (!(square >= 0x1p-100 && square <= 0x1p100)) {
      square = kernels_.exact_dot_f32(rows.row(first + r), rows.row(first + r), rows.depth);
    }
    const double range = wanted_.metric == Metric::kL2 ? 0x1p110 : 0x1p200;
    const bool good = square == 0.0 || (square >= 1.0 / range && square <= range);
    const double norm = std::sqrt(square);
    double scale = 1.0, factor = 1.0;
    const bool scaled = good && packed && norm != 0.0 && (split_ || wanted_.metric != Metric::kL2);
    if (scaled) scale = std::ldexp(1.0, -std::ilogb(norm) - 1);
    if (wanted_.metric == Metric::kL2) {
      factor = square;
    } else if (wanted_.metric == Metric::kDot) {
      factor = 1.0 / scale;
    } else {
      factor = norm == 0.0 ? 0.0 : 1.0 / (norm * scale);
    }
    factors[r] = static_cast<float>(good ? factor : 0.0);
    terms.scales[r] = good ? scale : 0.0;
    terms.float_scales[r] = static_cast<float>(terms.scales[r]);
    terms.unscales[r] = static_cast<float>(1.0 / scale);
    terms.exact[r] = good ? 0 : 1;
    terms.any_exact |= !good;
  }
}

void Product::look_at(const Matrix& rows, std::size_t first, std::size_t count, bool packed, Terms& terms) const {
  kernels_.squared_norms_f32(rows.row(first), rows.stride, count, rows.depth, terms.factors.data());
  find_terms(rows, first, count, packed, terms);
}

void Product::work(const support::StopFlag& stop) {
  const std::size_t most = (std::min(group_, columns_.rows) + width_ - 1) / width_ * width_;
  Room room(block_, most, single_ ? rows_.depth : most * rows_.depth, swapped_ ? block_ * width_ : 0);
  while (!stop.load(std::memory_order_relaxed)) {
    const std::size_t task = next_.fetch_add(1, std::memory_order_relaxed);
    if (task >= groups_ * chunks_) return;
    const std::size_t column = task / chunks_ * group_, count = std::min(group_, columns_.rows - column);
    look_at(columns_, column, count, true, room.column_terms);
    for (std::size_t p = 0; p < count && !single_; p += width_) {
      pack_panel(kernels_, columns_, column + p, std::min<std::size_t>(width_, count - p),
                 room.column_terms.scales.data() + p, width_, room.packed.data() + p * rows_.depth);
    }
    const std::size_t begin = task % chunks_ * chunk_, end = std::min(rows_.rows, begin + chunk_);
    for (std::size_t row = begin; row < end && !stop.load(std::memory_order_relaxed); row += block_) {
      const std::size_t rows = std::min(block_, end - row);
      if (single_) {
        multiply_singly(row, rows, room);
        continue;
      }
      look_at(rows_, row, rows, false, room.row_terms);
      for (std::size_t p = 0; p < count; p += width_) {
        multiply(row, rows, column + p, std::min<std::size_t>(width_, count - p), p, room);
      }
    }
  }
}

// `panel`: the place of the columns in the group.
void Product::multiply(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns, std::size_t panel,
                       Room& room) const {
  float* const out = swapped_ ? room.turned.data() : wanted_.out + row * wanted_.out_stride + column;
  const std::size_t out_stride = swapped_ ? width_ : wanted_.out_stride;
  kernels_.multiply_panel_f32({rows_.row(row), rows_.stride, room.packed.data() + panel * rows_.depth,
                               room.row_terms.factors.data(), room.column_terms.factors.data() + panel, out, out_stride,
                               static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(rows_.depth),
                               static_cast<std::uint32_t>(width_), static_cast<std::uint32_t>(columns),
                               wanted_.metric == Metric::kL2 ? 1U : 0U, streams_ && !swapped_ ? 1U : 0U});
  repair(row, rows, column, columns, panel, room.row_terms, room.column_terms, out, out_stride);
  if (!swapped_) return;
  for (std::size_t c = 0; c < columns; ++c) {
    float* const to = wanted_.out + (column + c) * wanted_.out_stride + row;
    for (std::size_t r = 0; r < rows; ++r) to[r] = out[r * width_ + c];
  }
}

// As many rows as fit are split once, by all workers, and then meet all columns, which a task splits for itself.
void Product::compute_split(const Request& pool, double operations) {
  const std::size_t bytes = split_elements(kSplitBlock, rows_.depth) / kSplitBlock * sizeof(std::uint16_t);
  group_ = std::clamp<std::size_t>(kSplitColumnBytes / bytes, kSplitBlock, 1024) / kSplitBlock * kSplitBlock;
  groups_ = (columns_.rows + group_ - 1) / group_;
  const std::size_t step = std::max<std::size_t>(kSplitRowBytes / bytes / block_, 1) * block_;
  Ticker tick(pool.tick);
  for (std::size_t first = 0; first < rows_.rows; first += step) {
    if (first > 0) tick();
    const std::size_t end = std::min(rows_.rows, first + step), blocks = (end - first + block_ - 1) / block_;
    const double share = static_cast<double>(end - first) / static_cast<double>(rows_.rows);
    const auto wanted_parts = static_cast<std::size_t>(wanted_.workers) * 4 / groups_ + 1;
    const std::size_t parts = std::min(blocks, wanted_parts);
    const int workers = std::min(useful_workers(pool, operations * share), static_cast<int>(groups_ * parts));
    while (split_blocks_.size() < blocks) {
      split_blocks_.push_back(std::make_unique<SplitVectors>(std::min(block_, rows_.rows), rows_.depth));
    }
    next_.store(0);
    run(pool, std::min(workers, static_cast<int>(blocks)), operations * share / 64,
        [&](int, const support::StopFlag& stop) { split_rows(first, end, stop); });
    next_.store(0);
    run(pool, workers, operations * share,
        [&](int, const support::StopFlag& stop) { work_split(first, end, parts, stop); });
  }
}

void Product::split_rows(std::size_t first, std::size_t end, const support::StopFlag& stop) {
  while (!stop.load(std::memory_order_relaxed)) {
    const std::size_t block = next_.fetch_add(1, std::memory_order_relaxed), row = first + block * block_;
    if (row >= end) return;
    split(rows_, row, std::min(block_, end - row), false, *split_blocks_[block]);
  }
}

// Tasks: a group of columns by one of `parts` parts of the blocks of rows.
void Product::work_split(std::size_t first, std::size_t end, std::size_t parts, const support::StopFlag& stop) {
  const std::size_t blocks = (end - first + block_ - 1) / block_;
  SplitVectors columns(std::min(group_, columns_.rows), rows_.depth);
  while (!stop.load(std::memory_order_relaxed)) {
    const std::size_t task = next_.fetch_add(1, std::memory_order_relaxed), part = task % parts;
    if (task >= groups_ * parts) return;
    const std::size_t column = task / parts * group_, count = std::min(group_, columns_.rows - column);
    split(columns_, column, count, true, columns);
    const std::size_t last = blocks * (part + 1) / parts;
    for (std::size_t block = blocks * part / parts; block < last && !stop.load(std::memory_order_relaxed); ++block) {
      const std::size_t row = first + block * block_;
      multiply_split(row, std::min(block_, end - row), *split_blocks_[block], column, count, columns);
    }
  }
}

// Rows or columns to their parts, and their terms.
void Product::split(const Matrix& from, std::size_t first, std::size_t count, bool as_columns, SplitVectors& to) const {
  look_at(from, first, count, true, to.terms);
  kernels_.pack_split({.vectors = from.row(first),
                       .stride = from.stride,
                       .scales = to.terms.float_scales.data(),
                       .out = to.parts.data(),
                       .count = static_cast<std::uint32_t>(count),
                       .depth = static_cast<std::uint32_t>(from.depth),
                       .as_columns = as_columns ? 1U : 0U});
}

// A block of rows against all columns of a group.
void Product::multiply_split(std::size_t row, std::size_t rows, const SplitVectors& of_rows, std::size_t column,
                             std::size_t columns, const SplitVectors& of_columns) const {
  const bool is_l2 = wanted_.metric == Metric::kL2;
  const Terms &row_terms = of_rows.terms, &column_terms = of_columns.terms;
  float* const out = wanted_.out + row * wanted_.out_stride + column;
  kernels_.multiply_split({.rows = of_rows.parts.data(),
                           .columns = of_columns.parts.data(),
                           .row_factors = is_l2 ? row_terms.unscales.data() : row_terms.factors.data(),
                           .column_factors = is_l2 ? column_terms.unscales.data() : column_terms.factors.data(),
                           .row_squares = is_l2 ? row_terms.factors.data() : nullptr,
                           .column_squares = is_l2 ? column_terms.factors.data() : nullptr,
                           .out = out,
                           .out_stride = wanted_.out_stride,
                           .row_count = static_cast<std::uint32_t>(rows),
                           .column_count = static_cast<std::uint32_t>(columns),
                           .depth = static_cast<std::uint32_t>(rows_.depth),
                           .stream = streams_ ? 1U : 0U});
  repair(row, rows, column, columns, 0, row_terms, column_terms, out, wanted_.out_stride);
}

// A few rows of a against a block of b that stays in the cache: no packing, results where they belong. The norms of the
// block come along with the first row.
void Product::multiply_singly(std::size_t row, std::size_t rows, Room& room) const {
  float* const factors = room.row_terms.factors.data();
  for (std::size_t c = 0; c < columns_.rows; ++c) {
    const float* query = columns_.row(c);
    // Scaled as packing would: products of large elements overflow otherwise.
    const double scale = room.column_terms.scales[c];
    if (scale != 1.0) {
      for (std::size_t i = 0; i < rows_.depth; ++i) room.packed[i] = static_cast<float>(query[i] * scale);
      query = room.packed.data();
    }
    float* const out = wanted_.out + c * wanted_.out_stride + row;
    kernels_.scan_rows_f32(rows_.row(row), rows_.stride, rows, rows_.depth, query, c == 0 && from_memory_, out,
                           c == 0 ? factors : nullptr);
    if (c == 0) find_terms(rows_, row, rows, false, room.row_terms);
    const float factor = room.column_terms.factors[c];
    if (wanted_.metric == Metric::kL2) {
      for (std::size_t r = 0; r < rows; ++r) {
        const float distance = (factors[r] + factor) - 2.0F * out[r];
        out[r] = distance < 0.0F ? 0.0F : distance;
      }
    } else {
      for (std::size_t r = 0; r < rows; ++r) out[r] = out[r] * factors[r] * factor;
    }
    if (wanted_.metric != Metric::kL2 && !room.row_terms.any_exact && !room.column_terms.any_exact) continue;
    float* const turned = room.turned.data();
    std::copy_n(out, rows, turned);
    repair(row, rows, c, 1, c, room.row_terms, room.column_terms, turned, 1);
    std::copy_n(turned, rows, out);
  }
}

float Product::definition(std::size_t row, std::size_t column) const {
  const double norm = wanted_.metric == Metric::kCosine ? exact_norm(kernels_, rows_.row(row), rows_.depth) : 0.0;
  return key_to_score(wanted_.metric,
                      exact_key(kernels_, wanted_.metric, rows_.row(row), norm, columns_.row(column), rows_.depth));
}

// By the definition: rows and columns of NaN, infinity, or out of the range that float32 products can stand, and
// distances much smaller than the vectors, which lost their digits.
void Product::repair(std::size_t row, std::size_t rows, std::size_t column, std::size_t columns, std::size_t panel,
                     const Terms& row_terms, const Terms& column_terms, float* out, std::size_t out_stride) const {
  if (row_terms.any_exact || column_terms.any_exact) {
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < columns; ++c) {
        if ((row_terms.exact[r] | column_terms.exact[panel + c]) == 0) continue;
        out[r * out_stride + c] = definition(row + r, column + c);
      }
    }
  }
  if (wanted_.metric != Metric::kL2) return;
  const float* const squares = column_terms.factors.data() + panel;
  for (std::size_t r = 0; r < rows; ++r) {
    float* const line = out + r * out_stride;
    const float square = row_terms.factors[r];
    int lost = 0;
    for (std::size_t c = 0; c < columns; ++c) lost |= line[c] < (square + squares[c]) * kCancelled ? 1 : 0;
    if (lost == 0) continue;
    for (std::size_t c = 0; c < columns; ++c) {
      if (line[c] < (square + squares[c]) * kCancelled) line[c] = definition(row + r, column + c);
    }
  }
}

// Calls each(first, last) for runs of rows, shared among workers.
template <class Each>
void for_rows(std::size_t rows, double operations, int workers, const std::function<void()>& tick, const Each& each) {
  constexpr std::size_t kStep = 256;
  if (rows == 0) return;
  const support::DefaultFloatEnvironment environment;
  Request pool;
  pool.workers = workers;
  pool.tick = tick;
  std::atomic<std::size_t> next{0};
  const int useful = std::min(useful_workers(pool, operations), static_cast<int>((rows + kStep - 1) / kStep));
  run(pool, std::max(useful, 1), operations, [&](int, const support::StopFlag& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t begin = next.fetch_add(kStep, std::memory_order_relaxed);
      if (begin >= rows) return;
      each(begin, std::min(rows, begin + kStep));
    }
  });
}

double elements(const StoredRows& rows) { return static_cast<double>(rows.rows) * static_cast<double>(rows.depth); }

}  // namespace

void similarity(const Similarity& wanted) {
  const support::DefaultFloatEnvironment environment;
  // Stores that cross cache lines cost a seventh of the speed at d = 128 (Zen 4), and NumPy's arrays begin within a
  // line: the first columns are taken by themselves, so that the rest is aligned.
  const std::size_t columns = (kLine - reinterpret_cast<std::uintptr_t>(wanted.out) / sizeof(float) % kLine) % kLine;
  if (columns == 0 || wanted.out_stride % kLine != 0 || wanted.a.rows < kPanelQueries || wanted.b.rows < 32 * kLine) {
    Product(wanted).compute();
    return;
  }
  Similarity part = wanted;
  part.b.rows = columns;
  Product(part).compute();
  part.b = {wanted.b.row(columns), wanted.b.rows - columns, wanted.b.depth, wanted.b.stride};
  part.out = wanted.out + columns;
  Product(part).compute();
}

void paired_similarity(const Similarity& wanted) {
  const KernelTable& kernels = cpu::kernels();
  const auto each = [&](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const double norm = wanted.metric == Metric::kCosine ? exact_norm(kernels, wanted.a.row(r), wanted.a.depth) : 0.0;
      const float key = exact_key(kernels, wanted.metric, wanted.a.row(r), norm, wanted.b.row(r), wanted.a.depth);
      wanted.out[r] = key_to_score(wanted.metric, key);
    }
  };
  for_rows(wanted.a.rows, 3 * elements(wanted.a), wanted.workers, wanted.tick, each);
}

void row_norms(const StoredRows& rows, float* norms, int workers, const std::function<void()>& tick) {
  const KernelTable& kernels = cpu::kernels();
  for_rows(rows.rows, elements(rows), workers, tick, [&](std::size_t first, std::size_t last) {
    RowReader reader(kernels, rows);
    for (std::size_t r = first; r < last; ++r) {
      const double norm = exact_norm(kernels, reader.row(r), rows.depth);
      norms[r] = std::isfinite(norm) ? static_cast<float>(norm) : NAN;
    }
  });
}

void normalize_rows(const Matrix& rows, float* out, std::size_t out_stride, int workers,
                    const std::function<void()>& tick) {
  const KernelTable& kernels = cpu::kernels();
  for_rows(rows.rows, 2 * elements(rows), workers, tick, [&](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      const float* const from = rows.row(r);
      float* const to = out + r * out_stride;
      const double norm = exact_norm(kernels, from, rows.depth);
      const double divisor = norm == 0.0 ? 1.0 : norm;
      for (std::size_t i = 0; i < rows.depth; ++i) to[i] = static_cast<float>(from[i] / divisor);
    }
  });
}

}  // namespace fastembed::search
