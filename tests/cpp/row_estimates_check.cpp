// Checks of the kernels of the short search: estimates against float64, and the rows that reach a value one by one.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check_support.hpp"

namespace fastembed::check {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// The terms of inner product, cosine and squared distance.
constexpr RowTerms kTerms[] = {
    {1.0F, 0.0F, -1e-7F, -1e-5F, 0.0F}, {0.0F, 1.0F, -1e-7F, -1e-5F, 0.0F}, {1.0F, 0.0F, -1e-7F, 0.0F, 0.49F}};

struct Estimates {
  explicit Estimates(std::size_t rows)
      : count(rows),
        padded((rows + kEstimateBlock - 1) / kEstimateBlock * kEstimateBlock),
        products(rows),
        norms(rows),
        squares(rows),
        roots(padded, kGuardValue),
        estimates(padded + kGuard, kGuardValue),
        greatest(padded / 4 + kGuard, kGuardValue) {
    Random random(rows);
    random.fill(products.data(), rows, 3.0F);
    for (std::size_t r = 0; r < rows; ++r) {
      norms[r] = 1.5F + random.signed_unit();
      squares[r] = norms[r] * norms[r];
    }
  }
  RowEstimates step(const RowTerms& terms, bool known, float most) {
    return {.products = products.data(),
            .known_norms = known ? norms.data() : nullptr,
            .squares = squares.data(),
            .norms = roots.data(),
            .estimates = estimates.data(),
            .greatest = greatest.data(),
            .count = count,
            .terms = terms,
            .least_norm = 0.25F,
            .greatest_norm = most};
  }

  std::size_t count, padded;
  std::vector<float> products, norms, squares, roots, estimates, greatest;
};

void check_values(const Estimates& found, const RowTerms& terms, Report& report) {
  for (std::size_t r = 0; r < found.count; ++r) {
    const double n = found.norms[r];
    const double o = terms.offset + n * (terms.offset_slope + n * terms.offset_square);
    const double f = terms.factor + terms.factor_slope * n;
    const double bound = 8 * kUnit * (std::fabs(double{found.products[r]}) + std::fabs(o)) / f;
    report.expect_near(found.estimates[r], (found.products[r] - o) / f, bound, "estimate_rows_f32" + text("row", r));
  }
  for (std::size_t r = found.count; r < found.padded; ++r) {
    report.expect(found.estimates[r] == kNothing, "estimate_rows_f32: padding" + text("row", r));
  }
  report.expect(found.estimates[found.padded] == kGuardValue && found.greatest[found.padded / 4] == kGuardValue,
                "estimate_rows_f32 writes behind its blocks");
  for (std::size_t i = 0; i < found.padded / 4; ++i) {
    const float* const column = found.estimates.data() + i / 16 * kEstimateBlock + i % 16;
    const float greatest = std::max({column[0], column[16], column[32], column[48]});
    report.expect(found.greatest[i] == greatest, "estimate_rows_f32: greatest" + text("column", i));
  }
}

void check_rows_at_least(const KernelTable& table, const Estimates& found, Report& report) {
  std::vector<float> pivots{kNothing, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::max()};
  for (std::size_t r = 0; r < found.count; r += 7) pivots.push_back(found.estimates[r]);
  for (const float pivot : pivots) {
    std::vector<std::uint32_t> expected;
    for (std::size_t r = 0; r < found.padded; ++r) {
      if (found.estimates[r] >= pivot) expected.push_back(static_cast<std::uint32_t>(r));
    }
    for (const std::size_t room : {expected.size() + 1, expected.size(), expected.size() / 2}) {
      std::vector<std::uint32_t> rows(room + 1, 4711);
      const std::size_t count = table.rows_at_least_f32(found.estimates.data(), found.padded, pivot, rows.data(), room);
      const std::size_t all = std::min(room, expected.size());
      report.expect(count == (expected.size() > room ? room + 1 : expected.size()) && rows[room] == 4711 &&
                        std::equal(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(all), expected.begin()),
                    "rows_at_least_f32" + text("rows", found.count) + text("room", room));
    }
  }
}

}  // namespace

void check_row_estimates(const KernelTable& table, Report& report) {
  for (const std::size_t count : {1UL, 3UL, 15UL, 16UL, 17UL, 63UL, 64UL, 65UL, 129UL, 1000UL}) {
    for (const RowTerms& terms : kTerms) {
      for (const bool known : {true, false}) {
        Estimates data(count);
        report.expect(table.estimate_rows_f32(data.step(terms, known, 4.0F)), "estimate_rows_f32: norms are in order");
        check_values(data, terms, report);
        for (std::size_t r = 0; r < count; ++r) {
          report.expect(known || std::fabs(data.roots[r] - data.norms[r]) <= 1e-6F, "estimate_rows_f32: root");
        }
        check_rows_at_least(table, data, report);
        // Any one norm out of order must show, the last one too.
        for (const float wrong : {5.0F, 0.125F, -1.0F, std::numeric_limits<float>::quiet_NaN()}) {
          Estimates other(count);
          const std::size_t at = count * 7 / 8;
          other.norms[at] = wrong;
          other.squares[at] = wrong * std::fabs(wrong);
          report.expect(!table.estimate_rows_f32(other.step(terms, known, 4.0F)),
                        "estimate_rows_f32 overlooks a norm" + text("row", at));
        }
      }
    }
  }
}

}  // namespace fastembed::check
