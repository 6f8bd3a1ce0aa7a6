// What the checks of scans over codes share: random thresholds and those that products just reach, and every hit held
// against them.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "check_support.hpp"

namespace fastembed::check {

/// Rows of codes and a panel, with what their products are.
struct ScanCase {
  std::string name;
  const std::uint8_t* codes;
  std::size_t row_stride;
  const void* panel;
  const std::int32_t* corrections;
  std::size_t rows, depth;
  std::uint32_t width;
  std::vector<double> products;  // of row r and query j at r * width + j
  std::vector<double> errors;    // what the kernel's may be off by
  double size;                   // of keys
  double rounding;               // of thresholds, downwards
};

/// The terms of the thresholds: the last group is one that nothing is known of.
struct ScanTerms {
  ScanTerms(const ScanCase& data, bool has_row_terms)
      : has_terms(has_row_terms),
        scales(data.rows / kCodeGroup),
        lengths(scales.size()),
        errors(scales.size()),
        terms(data.rows),
        keys(data.width),
        slopes(data.width),
        weights(data.width),
        units(data.width) {
    Random random(3);
    for (auto* values : {&scales, &lengths, &errors, &terms, &slopes, &weights, &units}) {
      for (float& value : *values) value = 1.0F + random.signed_unit() / 2;
    }
    for (float& key : keys) key = static_cast<float>(data.size * random.signed_unit());
    keys[0] = -1e38F;
    keys[1] = std::numeric_limits<float>::infinity();
    scales.back() = 0;
    errors.back() = std::numeric_limits<float>::infinity();
  }
  // Every product is compared with its key and nothing else.
  void leave_keys() {
    for (auto* values : {&lengths, &errors}) std::fill(values->begin(), values->end(), 0.0F);
    std::fill(scales.begin(), scales.end(), 1.0F);
  }
  [[nodiscard]] CodeScan scan(const ScanCase& data, CodeHit* hits, CodeHits* words) {
    ahead = {reinterpret_cast<const char*>(data.codes), reinterpret_cast<const char*>(data.corrections), ahead[0]};
    return {data.codes,
            data.row_stride,
            data.panel,
            data.corrections,
            scales.data(),
            lengths.data(),
            errors.data(),
            has_terms ? terms.data() : nullptr,
            keys.data(),
            slopes.data(),
            weights.data(),
            units.data(),
            hits,
            words,
            reinterpret_cast<const char*>(data.codes),
            ahead.data(),
            3,
            static_cast<std::uint32_t>(ahead.size()),
            2,
            rare ? 1U : 0U,
            static_cast<std::uint32_t>(data.rows),
            static_cast<std::uint32_t>(data.depth),
            data.width};
  }
  [[nodiscard]] double slack(std::size_t g, std::size_t j) const {
    return double{slopes[j]} * lengths[g] + double{weights[j]} * errors[g];
  }
  [[nodiscard]] double term(std::size_t r, std::size_t j) const {
    return has_terms ? double{terms[r]} * units[j] : 0.0;
  }

  bool has_terms, rare = false;
  std::vector<const char*> ahead{nullptr};
  std::vector<float> scales, lengths, errors, terms, keys, slopes, weights, units;
};

using ScanKernel = std::function<std::uint32_t(const CodeScan& scan)>;

/// Which rows and queries, r * width + j, were hits.
inline std::vector<int> hits_of(const ScanKernel& kernel, const ScanCase& data, ScanTerms& terms,
                                const std::string& where, Report& report) {
  std::vector<CodeHit> hits(data.rows * data.width + 1, CodeHit{77, 77});
  std::vector<CodeHits> words(data.rows * data.width / 2 + 2, CodeHits{0, 77, 77});
  const std::size_t found = kernel(terms.scan(data, hits.data(), words.data()));
  report.expect(found <= data.rows * data.width && hits.back().row == 77, where + ": wrote behind the hits");
  report.expect(words.back().row == 77, where + ": wrote behind its words");
  std::vector<int> seen(data.rows * data.width, 0);
  const std::string wrong = where + ": a hit twice or out of range";
  for (std::size_t h = 0; h < std::min(found, hits.size()); ++h) {
    const std::size_t at = hits[h].row * data.width + hits[h].query;
    report.expect(at < seen.size() && ++seen[at] == 1, wrong);
  }
  return seen;
}

/// Every product as the threshold of all rows: a product that is off by one is on the wrong side of some. Or those of
/// every so many rows, where products are not exact.
inline void check_products(const ScanKernel& kernel, const ScanCase& data, std::size_t every, Report& report) {
  ScanTerms terms(data, false);
  terms.leave_keys();
  const std::string where = data.name + ", products", wrong = where + ": a wrong product";
  for (std::size_t chosen = 0; chosen < data.rows; chosen += every) {
    for (std::size_t j = 0; j < data.width; ++j) {
      terms.keys[j] = static_cast<float>(data.products[chosen * data.width + j]);
    }
    terms.rare = chosen % 2 != 0;
    const std::vector<int> seen = hits_of(kernel, data, terms, where, report);
    for (std::size_t at = 0; at < seen.size(); ++at) {
      const double over = data.products[at] - terms.keys[at % data.width];
      if (std::fabs(over) > data.errors[at] || data.errors[at] == 0) {
        report.expect(seen[at] == (over >= 0 ? 1 : 0), wrong);
      }
    }
  }
}

inline void check_code_scan(const ScanKernel& kernel, const ScanCase& data, bool has_terms, bool rare, Report& report) {
  ScanTerms terms(data, has_terms);
  terms.rare = rare;
  const std::string where = data.name + text("terms", has_terms ? 1 : 0);
  const std::vector<int> seen = hits_of(kernel, data, terms, where, report);
  for (std::size_t at = 0; at < seen.size(); ++at) {
    const std::size_t r = at / data.width, j = at % data.width;
    if (r / kCodeGroup == terms.scales.size() - 1) {
      report.expect(seen[at] == (j == 1 ? 0 : 1), where + ": a group without bounds");
      continue;
    }
    const std::size_t g = r / kCodeGroup;
    const double wanted = double{terms.keys[j]} * terms.scales[g] - terms.slack(g, j) + terms.term(r, j);
    const double product = data.products[at];
    const double doubt = 4e-7 * std::fabs(wanted) + data.errors[at];
    if (product >= wanted + doubt) report.expect(seen[at] == 1, where + ": a hit missed");
    if (product < wanted - data.rounding - doubt) report.expect(seen[at] == 0, where + ": a hit made up");
  }
}

inline void check_greatest(void (*kernel)(const CodeScan& scan, float* greatest) noexcept, const ScanCase& data,
                           bool has_terms, Report& report) {
  ScanTerms terms(data, has_terms);
  const std::size_t groups = terms.scales.size();
  std::vector<float> greatest(groups * data.width + 1, 77.0F);
  kernel(terms.scan(data, nullptr, nullptr), greatest.data());
  const std::string where = data.name + ", greatest" + text("terms", has_terms ? 1 : 0);
  report.expect(greatest.back() == 77.0F, where + ": wrote behind the last");
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t j = 0; j < data.width; ++j) {
      const float got = greatest[g * data.width + j];
      if (g == groups - 1) {
        report.expect(got == -std::numeric_limits<float>::max(), where + ": a group without bounds");
        continue;
      }
      double most = -1e300, size = 0, error = 0, named = 0;
      for (std::size_t r = 0; r < kCodeGroup; ++r) {
        const std::size_t row = g * kCodeGroup + r, at = row * data.width + j;
        const double value = data.products[at] - terms.term(row, j);
        most = std::max(most, value);
        size = std::max(size, std::fabs(data.products[at]) + terms.term(row, j));
        error = std::max(error, data.errors[at]);
        if ((std::bit_cast<std::uint32_t>(got) & 7U) == r) named = value;
      }
      const double room = 0x1p-19 * size + 1e-40 + error, value = double{got} * terms.scales[g];
      report.expect(std::fabs(value - most) <= room && most - named <= 2 * room,
                    where + text("group", g) + text("query", j));
    }
  }
}

}  // namespace fastembed::check
