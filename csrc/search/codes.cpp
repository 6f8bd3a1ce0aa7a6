#include "search/codes.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>

#include "cpu/dispatch.hpp"
#include "search/batches.hpp"
#include "search/score.hpp"
#include "search/stored_rows.hpp"
#include "support/float_environment.hpp"

namespace fastembed::search {
namespace {

constexpr float kLeastNorm = 0x1p-60F, kGreatestNorm = 0x1p60F;
constexpr std::size_t kSampleRows = 512;

bool has_codable_norm(float norm) noexcept { return norm == 0.0F || (norm >= kLeastNorm && norm <= kGreatestNorm); }

// Random bits that depend on nothing but the place (Steele, Lea, Flood: SplitMix64, 2014).
std::uint64_t mixed(std::uint64_t place) noexcept {
  std::uint64_t z = (place + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// Bounds that hold for whatever the rows are.
void make_void(std::size_t group, const CodesOut& out) noexcept {
  out.scales[group] = 0.0F;
  out.lengths[group] = 0.0F;
  out.errors[group] = std::numeric_limits<float>::infinity();
  if (out.residuals != nullptr) out.residual_errors[group] = std::numeric_limits<float>::infinity();
  if (out.coarse != nullptr) out.coarse_errors[group] = std::numeric_limits<float>::infinity();
  if (out.quarters != nullptr) out.medium_errors[group] = std::numeric_limits<float>::infinity();
}

// Upper bounds on lengths and errors from sums of squares in float32.
struct SquareSums {
  float length, error, residual_error, coarse_error, medium_error;
};
void find_terms(const CodeSpace& space, const SquareSums& sums, std::size_t group, const CodesOut& out) noexcept {
  const auto terms = static_cast<double>(space.depth());
  // What an element's error may be off by: a rounding of up to 127; as bfloat16, denormals and what squares lose.
  const double off = space.kind() == CodeKind::kInt8 ? 0x1p-17 : 0x1p-60;
  const double wide = 1.0 + (terms + 16.0) * 0x1p-24;
  out.lengths[group] = static_cast<float>(std::sqrt(double{sums.length}) * wide * (1.0 + 0x1p-22));
  const auto bound = [&](float square) {
    return static_cast<float>((std::sqrt(double{square}) * wide + std::sqrt(terms) * off) * (1.0 + 0x1p-22));
  };
  out.errors[group] = bound(sums.error);
  if (out.residuals != nullptr) out.residual_errors[group] = bound(sums.residual_error);
  if (out.coarse != nullptr) out.coarse_errors[group] = std::max(bound(sums.coarse_error), out.errors[group]);
  if (out.quarters != nullptr) out.medium_errors[group] = std::max(bound(sums.medium_error), out.errors[group]);
  if (out.scales[group] == 0.0F) make_void(group, out);
}

}  // namespace

CodeSpace::CodeSpace(CodeKind kind, Metric metric, std::size_t depth, const float* mean)
    : kind_(kind), metric_(metric), depth_(depth), window_(std::bit_floor(depth)), mean_(mean, mean + depth) {
  const std::size_t windows = window_ == depth ? 1 : 2;
  const float size = static_cast<float>(1.0 / std::sqrt(static_cast<double>(window_)));
  for (std::size_t i = 0; i < windows * window_; ++i) signs_.push_back((mixed(i) & 1) != 0 ? -size : size);
  // A window: the factor, its product, and a sum for every level.
  double square = 0;
  for (const float element : mean_) square += static_cast<double>(element) * element;
  mean_norm_ = std::sqrt(square);
  const double roundings = static_cast<double>(windows) * (std::log2(static_cast<double>(window_)) + 2.0);
  turn_error_ = roundings * 0x1p-24 * 1.001;
}

void CodeSpace::turn(const KernelTable& kernels, float* columns, bool centered) const noexcept {
  kernels.turn_columns_f32({columns, centered ? mean_.data() : nullptr, signs_.data(),
                            static_cast<std::uint32_t>(depth_), static_cast<std::uint32_t>(window_)});
}

void code_rows(const KernelTable& kernels, const CodeSpace& space, const Matrix& rows, const float* norms,
               float* columns, const CodesOut& out) {
  const bool is_cosine = space.metric() == Metric::kCosine;
  const std::size_t stride = space.stride();
  const auto coder = space.kind() == CodeKind::kInt8 ? kernels.code_rows_u8 : kernels.code_rows_bf16;
  const std::size_t nibbles = space.nibble_stride(), quarters = space.quarter_stride();
  std::vector<std::uint8_t> rest;
  for (std::size_t r = 0; r < rows.rows; r += kCodeRows) {
    const std::size_t n = std::min<std::size_t>(kCodeRows, rows.rows - r);
    float factors[kCodeRows] = {};
    for (std::size_t j = 0; j < n; ++j) {
      const float norm = norms[r + j];
      if (has_codable_norm(norm)) factors[j] = is_cosine ? (norm == 0.0F ? 0.0F : 1.0F / norm) : 1.0F;
    }
    kernels.pack_panel_f32(rows.row(r), rows.stride, n, rows.depth, factors, kCodeRows, columns);
    for (std::size_t j = 0; j < n; ++j) {
      if (has_codable_norm(norms[r + j])) continue;
      for (std::size_t i = 0; i < rows.depth; ++i) columns[i * kCodeRows + j] = 0.0F;  // 0 times infinity is NaN
    }
    space.turn(kernels, columns, true);
    const CodesOut to = out.from(r, space);
    float scales[2], lengths[2], errors[2], squares[kCodeRows];
    float residual_errors[2] = {}, coarse_errors[2] = {}, medium_errors[2] = {};
    CodesOut into = to;
    if (n < kCodeRows) {  // the kernel writes all
      rest.resize(kCodeRows * (stride + 2 * nibbles + quarters));
      into.codes = rest.data();
      if (to.residuals != nullptr) into.residuals = rest.data() + kCodeRows * stride;
      if (to.coarse != nullptr) into.coarse = rest.data() + kCodeRows * (stride + nibbles);
      if (to.quarters != nullptr) into.quarters = rest.data() + kCodeRows * (stride + 2 * nibbles);
    }
    coder({columns, into.codes, scales, lengths, errors, squares, into.residuals, residual_errors, into.coarse,
           coarse_errors, into.quarters, medium_errors, stride, static_cast<std::uint32_t>(rows.depth)});
    if (n < kCodeRows) {
      std::copy_n(into.codes, n * stride, to.codes);
      if (to.residuals != nullptr) std::copy_n(into.residuals, n * nibbles, to.residuals);
      if (to.coarse != nullptr) std::copy_n(into.coarse, n * nibbles, to.coarse);
      if (to.quarters != nullptr) std::copy_n(into.quarters, n * quarters, to.quarters);
    }
    std::copy_n(scales, n / kCodeGroup, to.scales);
    for (std::size_t g = 0; g < n / kCodeGroup; ++g) {
      find_terms(space, {lengths[g], errors[g], residual_errors[g], coarse_errors[g], medium_errors[g]}, g, to);
    }
    if (to.squares != nullptr) std::copy_n(squares, n, to.squares);
    for (std::size_t j = 0; j < n; ++j) {
      if (!has_codable_norm(norms[r + j])) make_void(j / kCodeGroup, to);
    }
  }
}

void sample_mean(const KernelTable& kernels, const StoredRows& rows, Metric metric, float* mean) {
  std::vector<double> sums(rows.depth);
  const std::size_t sampled = std::min(rows.rows, kSampleRows);
  double counted = 0;
  RowReader reader(kernels, rows);
  for (std::size_t s = 0; s < sampled; ++s) {
    const float* const row = reader.row(s * rows.rows / sampled);
    const double norm = exact_norm(kernels, row, rows.depth);
    if (!(norm >= kLeastNorm && norm <= kGreatestNorm)) continue;
    const double factor = metric == Metric::kCosine ? 1.0 / norm : 1.0;
    for (std::size_t i = 0; i < rows.depth; ++i) sums[i] += row[i] * factor;
    counted += 1;
  }
  for (std::size_t i = 0; i < rows.depth; ++i) mean[i] = counted == 0 ? 0.0F : static_cast<float>(sums[i] / counted);
}

void code_index(const CodeSpace& space, const StoredRows& rows, const float* norms, const CodesOut& out, int workers,
                const std::function<void()>& tick) {
  const KernelTable& kernels = cpu::kernels();
  constexpr std::size_t kPiece = 4 * kCodeRows, kStep = 16 * kPiece;
  const support::DefaultFloatEnvironment environment;
  Request pool;
  pool.workers = workers;
  pool.tick = tick;
  const double operations = 8.0 * static_cast<double>(rows.rows * rows.depth);
  std::atomic<std::size_t> next{0};
  run(pool, useful_workers(pool, operations), operations, [&](int, const support::StopFlag& stop) {
    auto columns = support::AlignedBuffer<float>::uninitialised(kCodeRows * rows.depth);
    std::vector<float> room(rows.is_float32() ? 0 : kPiece * rows.depth);
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t begin = next.fetch_add(kStep, std::memory_order_relaxed);
      if (begin >= rows.rows) return;
      const std::size_t end = std::min(rows.rows, begin + kStep);
      for (std::size_t r = begin; r < end; r += kPiece) {
        const Matrix piece = as_float32(kernels, rows, r, std::min(kPiece, end - r), room.data());
        code_rows(kernels, space, piece, norms + r, columns.data(), out.from(r, space));
      }
    }
  });
}

}  // namespace fastembed::search
