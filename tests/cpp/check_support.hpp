// What the kernel checks share: counting and printing, random floats, and float64 forms of the logistic functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "cpu/kernel_table.hpp"

namespace fastembed::check {

constexpr double kUnit = 1.0 / (1 << 24);  // half of float32's machine epsilon
constexpr std::size_t kLengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 300};
constexpr std::size_t kMisalignments[] = {0, 1, 3};  // in floats: 0, 4 and 12 bytes
constexpr std::size_t kContextCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 40};
constexpr std::size_t kTargetCounts[] = {1, 2, 3, 4, 5, 6, 7, 11, 21};
constexpr std::size_t kDepths[] = {16, 32, 112, 304};
constexpr std::size_t kGuard = 64;  // floats beyond a buffer's end that nothing may touch
constexpr float kGuardValue = -12345.5F;

struct Report {
  std::string tier;
  long passed = 0;
  long failed = 0;

  void expect(bool good, const std::string& what) {
    if (good) {
      ++passed;
      return;
    }
    if (++failed <= 20) std::fprintf(stderr, "FAILED [%s] %s\n", tier.c_str(), what.c_str());
  }

  void expect_near(double got, double wanted, double bound, const std::string& what) {
    // Not `error <= bound` alone: a NaN must fail.
    const bool good = std::fabs(got - wanted) <= bound;
    expect(good, good ? std::string()
                      : what + ": got " + std::to_string(got) + ", wanted " + std::to_string(wanted) + " within " +
                            std::to_string(bound / kUnit) + " * 2^-24");
  }
};

// SplitMix64, reduced to floats in [-1, 1).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  float signed_unit() { return static_cast<float>(next() >> 40) / static_cast<float>(1 << 23) - 1.0F; }
  void fill(float* to, std::size_t count, float scale) {
    for (std::size_t i = 0; i < count; ++i) to[i] = scale * signed_unit();
  }

 private:
  std::uint64_t state_;
};

inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

inline std::string text(const char* name, std::size_t value) {
  return std::string(" ") + name + "=" + std::to_string(value);
}

/// tile_check.cpp. `bfloat16` says that the operands of the tier's products are rounded to bfloat16.
void check_tiles(const KernelTable& table, Report& report, bool bfloat16);
/// tile_check.cpp too.
void check_add_rows(const KernelTable& table, Report& report);

/// draws_check.cpp.
void check_draws(const KernelTable& table, Report& report);
/// search_check.cpp.
void check_search(const KernelTable& table, Report& report);
/// row_estimates_check.cpp.
void check_row_estimates(const KernelTable& table, Report& report);
/// reached_rows_check.cpp.
void check_reached_rows(const KernelTable& table, Report& report);
/// split_check.cpp.
void check_split(const KernelTable& table, Report& report);
/// Kernels over codes (codes_check.cpp).
void check_codes(const KernelTable& table, Report& report);
void check_code_products(const KernelTable& table, Report& report);
/// What codes leave over (residuals_check.cpp).
void check_residuals(const KernelTable& table, Report& report);
/// Their upper halves, against a query.
void check_coarse_scans(const KernelTable& table, Report& report);
/// Their upper six bits, against panels.
void check_medium_scans(const KernelTable& table, Report& report);
/// Kernels over rows of bfloat16 (bf16_codes_check.cpp): all of them, or the scans of panels alone.
void check_bf16_codes(const KernelTable& table, Report& report);
void check_bf16_scans(const KernelTable& table, Report& report);

/// stored_rows_check.cpp.
void check_stored_rows(const KernelTable& table, Report& report);

/// text_check.cpp.
void check_token_edges(const KernelTable& table, Report& report);

/// cbow_tile_check.cpp.
void check_cbow_tiles(const KernelTable& table, Report& report, bool bfloat16);

}  // namespace fastembed::check
