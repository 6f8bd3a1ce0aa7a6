#include "search/stored_rows.hpp"

#include <atomic>
#include <bit>
#include <cmath>
#include <limits>

#include "cpu/dispatch.hpp"
#include "search/batches.hpp"
#include "support/float_environment.hpp"

namespace fastembed::search {
namespace {

constexpr std::uint32_t kInfinity = 0x7f800000U;  // bits of float32
constexpr std::uint32_t kSign = 0x80000000U;

// The loops below have no branches, so that compilers make vectors of them. Each returns whether the row can be had.

bool to_bfloat16(const float* from, std::size_t depth, std::uint16_t* to) noexcept {
  std::uint32_t worst = 0;
  for (std::size_t i = 0; i < depth; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    const std::uint32_t magnitude = bits & ~kSign;
    const std::uint32_t rounded = magnitude + 0x7fffU + ((magnitude >> 16) & 1U);
    worst = std::max(worst, rounded);  // a NaN's is above infinity's, too
    to[i] = static_cast<std::uint16_t>((rounded | (bits & kSign)) >> 16);
  }
  return worst < kInfinity;
}

bool to_float16(const float* from, std::size_t depth, std::uint16_t* to) noexcept {
  constexpr std::uint32_t kLeastNormal = 113U << 23;  // 2^-14
  constexpr float kStep = 0.5F;                       // adding it leaves multiples of 2^-24
  std::uint32_t worst = 0;
  for (std::size_t i = 0; i < depth; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    const std::uint32_t magnitude = bits & ~kSign;
    const std::uint32_t small =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + kStep) - std::bit_cast<std::uint32_t>(kStep);
    const std::uint32_t normal = (magnitude - (112U << 23) + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
    worst = std::max(worst, magnitude);
    const std::uint32_t half = magnitude < kLeastNormal ? small : normal;
    to[i] = static_cast<std::uint16_t>(half | ((bits & kSign) >> 16));
  }
  return worst < std::bit_cast<std::uint32_t>(65520.0F);  // rounds to 2^16
}

float int8_scale(float greatest) noexcept {
  auto scale = static_cast<float>(static_cast<double>(greatest) / 127.0);
  if (static_cast<double>(scale) * 127.0 < static_cast<double>(greatest)) scale = std::nextafterf(scale, INFINITY);
  return std::isinf(scale * 127.0F) ? std::nextafterf(scale, 0.0F) : scale;
}

bool to_int8(const float* from, std::size_t depth, std::int8_t* to, float* scale) noexcept {
  std::uint32_t greatest = 0;
  for (std::size_t i = 0; i < depth; ++i) greatest = std::max(greatest, std::bit_cast<std::uint32_t>(from[i]) & ~kSign);
  *scale = 0.0F;
  if (greatest >= kInfinity) return false;
  if (greatest == 0) {
    std::fill_n(to, depth, std::int8_t{0});
    return true;
  }
  const float step = int8_scale(std::bit_cast<float>(greatest));
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  for (std::size_t i = 0; i < depth; ++i) {
    to[i] = static_cast<std::int8_t>(static_cast<std::int32_t>((from[i] / step + kRounder) - kRounder));
  }
  *scale = step;
  return true;
}

bool narrow_row(const float* from, std::size_t depth, Storage storage, std::byte* to, float* scale) noexcept {
  if (storage == Storage::kInt8) return to_int8(from, depth, reinterpret_cast<std::int8_t*>(to), scale);
  auto* const halves = reinterpret_cast<std::uint16_t*>(to);
  return storage == Storage::kFloat16 ? to_float16(from, depth, halves) : to_bfloat16(from, depth, halves);
}

// Calls each(first, last) for runs of rows, shared among workers.
template <class Each>
void for_runs(std::size_t rows, std::size_t depth, int workers, const std::function<void()>& tick, const Each& each) {
  constexpr std::size_t kStep = 64;
  constexpr double kOperationsAnElement = 4.0;
  const support::DefaultFloatEnvironment environment;
  Request pool;
  pool.workers = workers;
  pool.tick = tick;
  const double operations = kOperationsAnElement * static_cast<double>(rows * depth);
  std::atomic<std::size_t> next{0};
  run(pool, useful_workers(pool, operations), operations, [&](int, const support::StopFlag& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
      const std::size_t begin = next.fetch_add(kStep, std::memory_order_relaxed);
      if (begin >= rows) return;
      each(begin, std::min(rows, begin + kStep));
    }
  });
}

}  // namespace

void widen_all(const StoredRows& rows, float* out, int workers, const std::function<void()>& tick) {
  const KernelTable& kernels = cpu::kernels();
  for_runs(rows.rows, rows.depth, workers, tick, [&](std::size_t first, std::size_t last) {
    copy_rows(kernels, rows, first, last - first, out + first * rows.depth);
  });
}

std::int64_t narrow_rows(const Matrix& rows, Storage storage, std::byte* out, float* scales, int workers,
                         const std::function<void()>& tick) {
  const std::size_t row_bytes = rows.depth * (storage == Storage::kInt8 ? 1 : 2);
  std::atomic<std::int64_t> bad_row{-1};
  for_runs(rows.rows, rows.depth, workers, tick, [&](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) {
      float* const scale = scales == nullptr ? nullptr : scales + r;
      if (narrow_row(rows.row(r), rows.depth, storage, out + r * row_bytes, scale)) continue;
      const auto row = static_cast<std::int64_t>(r);
      std::int64_t least = bad_row.load();
      while ((least < 0 || row < least) && !bad_row.compare_exchange_weak(least, row)) {
      }
    }
  });
  return bad_row.load();
}

}  // namespace fastembed::search
