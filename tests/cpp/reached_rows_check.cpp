// Which products of a single query are said to reach their thresholds, against float64.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check_support.hpp"

namespace fastembed::check {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Rows whose last group nothing is known of, and products of about the size of their thresholds.
struct Thresholds {
  Thresholds(std::size_t count, double product_size)
      : rows(count),
        padded((count + kCodeRows - 1) / kCodeRows * kCodeRows),
        size(product_size),
        scales(count / kCodeGroup),
        lengths(scales.size()),
        errors(scales.size()),
        terms(padded) {
    Random random(count);
    for (auto* values : {&scales, &lengths, &errors, &terms}) {
      for (float& value : *values) value = 1.0F + random.signed_unit() / 2;
    }
    scales.back() = 0;
    errors.back() = kInfinity;
    for (std::size_t r = 0; r < padded; ++r) products.push_back(std::floor(size * 2 * random.signed_unit()));
  }
  [[nodiscard]] CodeThresholds step(float key, bool has_terms) const {
    return {.scales = scales.data(),
            .lengths = lengths.data(),
            .errors = errors.data(),
            .row_terms = has_terms ? terms.data() : nullptr,
            .key = key,
            .slope = static_cast<float>(size * 0.1),
            .weight = static_cast<float>(size * 0.03),
            .unit = static_cast<float>(size * 0.2),
            .row_count = static_cast<std::uint32_t>(rows)};
  }

  std::size_t rows, padded;
  double size;
  std::vector<float> scales, lengths, errors, terms;
  std::vector<double> products;
};

// `rounding`: how far thresholds may be rounded down. A product that a comparison could take either way is none.
template <class Product>
void check(std::uint32_t (*kernel)(const CodeThresholds&, const Product*, std::uint32_t*) noexcept,
           const Thresholds& data, float key, bool has_terms, double rounding, Report& report) {
  const CodeThresholds step = data.step(key, has_terms);
  std::vector<Product> products;
  for (const double product : data.products) products.push_back(static_cast<Product>(product));
  std::vector<std::uint32_t> found(data.rows + 1, 4711);
  const std::size_t count = kernel(step, products.data(), found.data());
  const std::string where = "reached rows" + text("rows", data.rows) + text("terms", has_terms ? 1 : 0);
  report.expect(count <= data.rows && found[data.rows] == 4711, where + ": wrote behind the last");
  found.resize(std::min(count, data.rows));
  report.expect(std::adjacent_find(found.begin(), found.end(), std::greater_equal<>()) == found.end(),
                where + ": not ascending");
  for (std::size_t r = 0; r < data.rows; ++r) {
    const bool is_found = std::binary_search(found.begin(), found.end(), r);
    const std::size_t g = r / kCodeGroup;
    if (g == data.scales.size() - 1) {
      report.expect(is_found == !std::isinf(key), where + ": a group without bounds");
      continue;
    }
    const double slack = double{step.slope} * data.lengths[g] + double{step.weight} * data.errors[g];
    const double wanted = double{key} * data.scales[g] - slack + (has_terms ? double{step.unit} * data.terms[r] : 0.0);
    const double doubt = 8 * kUnit * (std::fabs(double{key}) * data.scales[g] + 2 * data.size);
    const auto product = static_cast<double>(products[r]);
    if (product >= wanted + doubt) report.expect(is_found, where + ": one missed");
    if (product < wanted - rounding - doubt) report.expect(!is_found, where + ": one made up");
  }
}

}  // namespace

void check_reached_rows(const KernelTable& table, Report& report) {
  for (const std::size_t rows : {8UL, 16UL, 24UL, 56UL, 64UL, 72UL, 120UL, 1000UL}) {
    for (const bool has_terms : {false, true}) {
      for (const double size : {20.0, 4e5, 5e8}) {
        const Thresholds data(rows, size);
        for (const double part : {-1.0, 0.0, 0.5, 1.9}) {
          check(table.reached_code_rows, data, static_cast<float>(size * part), has_terms, 1, report);
          check(table.reached_bf16_rows, data, static_cast<float>(size * part), has_terms, 0, report);
        }
        for (const float key : {-1e38F, 1e38F}) {
          check(table.reached_code_rows, data, key, has_terms, 1, report);
          check(table.reached_bf16_rows, data, key, has_terms, 0, report);
        }
        // 0 times infinity is no number: what no product reaches.
        check(table.reached_code_rows, data, kInfinity, has_terms, 1, report);
        check(table.reached_bf16_rows, data, kInfinity, has_terms, 0, report);
      }
    }
  }
}

}  // namespace fastembed::check
