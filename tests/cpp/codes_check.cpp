// Checks of the kernels over codes: integer products to the last bit, thresholds, codes within the bounds that they
// come with, the transform against its matrix.
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "code_scan_check.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::check {
namespace {

constexpr std::size_t kCodeDepths[] = {4, 8, 12, 32, 60, 64, 68, 128, 300, 516};
constexpr std::uint32_t kPanelWidths[] = {kNarrowPanelQueries, kPanelQueries};

// Rows of codes and queries of integers, with their products.
struct CodeCase {
  CodeCase(const KernelTable& table, std::size_t row_count, std::size_t code_depth, std::uint32_t panel_width,
           std::int32_t most, std::uint64_t seed, bool is_extreme = false)
      : rows(row_count),
        depth(code_depth),
        width(panel_width),
        count(panel_width == 1 ? 1 : panel_width - 3),
        codes(rows * depth + kCodeSlack),
        queries(count * depth),
        products(rows * width),
        panel(support::AlignedBuffer<std::int16_t>::uninitialised(width * (depth + 64))),
        corrections(width) {
    Random random(seed);
    for (auto& code : codes) code = static_cast<std::uint8_t>(1 + random.next() % 255);
    for (auto& element : queries)
      element = static_cast<std::int16_t>(static_cast<int>(random.next() % (2 * most + 1)) - most);
    for (std::size_t i = 0; i < depth; ++i) {  // the extremes, in one row and query
      codes[i] = 255;
      queries[i] = static_cast<std::int16_t>(most);
    }
    if (is_extreme) make_extreme(static_cast<std::int16_t>(most));
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t j = 0; j < count; ++j) {
        std::int64_t sum = 0;
        for (std::size_t i = 0; i < depth; ++i) {
          sum += (static_cast<int>(codes[r * depth + i]) - kCodeZero) * static_cast<int>(queries[j * depth + i]);
        }
        products[r * width + j] = sum;
      }
    }
    table.pack_code_panel({queries.data(), panel.data(), corrections.data(), static_cast<std::uint32_t>(count),
                           static_cast<std::uint32_t>(depth), width});
  }
  // Rows and queries of the greatest and least elements alone.
  void make_extreme(std::int16_t most) {
    for (std::size_t i = 0; i < rows * depth; ++i) codes[i] = i / depth % 3 == 0 ? 1 : 255;
    for (std::size_t i = 0; i < count * depth; ++i) {
      queries[i] = static_cast<std::int16_t>(i / depth % 2 == 0 ? most : -most);
    }
  }
  [[nodiscard]] std::string name(const char* kernel) const {
    return kernel + text("rows", rows) + text("depth", depth) + text("width", width);
  }

  std::size_t rows, depth;
  std::uint32_t width;
  std::size_t count;
  std::vector<std::uint8_t> codes;
  std::vector<std::int16_t> queries;
  std::vector<std::int64_t> products;
  support::AlignedBuffer<std::int16_t> panel;
  std::vector<std::int32_t> corrections;
};

void check_scans(const KernelTable& table, const CodeCase& data, bool has_terms, Report& report) {
  const ScanCase scan{data.name("scan_codes"),
                      data.codes.data(),
                      data.depth,
                      data.panel.data(),
                      data.corrections.data(),
                      data.rows,
                      data.depth,
                      data.width,
                      {data.products.begin(), data.products.end()},
                      std::vector<double>(data.products.size()),
                      40.0 * std::sqrt(static_cast<double>(data.depth)) * table.code_query_limit(),
                      2};
  for (const bool rare : {false, true}) check_code_scan(table.scan_codes, scan, has_terms, rare, report);
  if (!has_terms) check_products(table.scan_codes, scan, 1, report);
  check_greatest(table.greatest_codes, scan, has_terms, report);
}

void check_singles(const KernelTable& table, Report& report) {
  for (const std::size_t depth : kCodeDepths) {
    const auto most = static_cast<std::int32_t>(std::min<std::size_t>(32639, (std::size_t{1} << 30) / (127 * depth)));
    const CodeCase data(table, 19, depth, 1, most, depth);
    std::vector<std::int32_t> products(data.rows + 1, 77);
    table.scan_code_rows(data.codes.data(), depth, data.rows, depth, data.panel.data(), data.corrections[0],
                         products.data());
    for (std::size_t r = 0; r < data.rows; ++r) {
      report.expect(products[r] == data.products[r], data.name("scan_code_rows") + text("row", r));
    }
    report.expect(products.back() == 77, data.name("scan_code_rows") + ": wrote behind the rows");
  }
}

// Products that add nothing; the returned count tells how many a step does.
void check_code_peak(const KernelTable& table, Report& report) {
  for (const std::size_t rounds : {1, 2, 7, 100}) {
    std::int32_t codes[32];
    std::fill(std::begin(codes), std::begin(codes) + 16, 5);
    std::fill(std::begin(codes) + 16, std::end(codes), 0x10000);
    const double products = table.code_peak(rounds, codes) / (24.0 * static_cast<double>(rounds));
    constexpr double kKnown[] = {1 * 2, 4 * 2, 8 * 2, 16 * 2, 16 * 4, 16 * 8, 16 * 16 * 64};
    report.expect(std::find(std::begin(kKnown), std::end(kKnown), products) != std::end(kKnown),
                  "code_peak: wrong count of operations");
    report.expect(codes[0] == 5, "code_peak");
  }
}

// Turned columns against sums over the matrix itself, in float64.
std::vector<double> turned(std::vector<double> v, const std::vector<float>& signs, std::size_t window) {
  const std::size_t windows = window == v.size() ? 1 : 2;
  for (std::size_t w = 0; w < windows; ++w) {
    const std::size_t first = w == 0 ? 0 : v.size() - window;
    std::vector<double> sums(window);
    for (std::size_t i = 0; i < window; ++i) {
      for (std::size_t j = 0; j < window; ++j) {
        const double term = v[first + j] * signs[w * window + j];
        sums[i] += std::popcount(i & j) % 2 == 0 ? term : -term;
      }
    }
    std::copy(sums.begin(), sums.end(), v.begin() + static_cast<std::ptrdiff_t>(first));
  }
  return v;
}

void check_coding(const KernelTable& table, std::size_t depth, Report& report) {
  Random random(depth);
  const std::size_t window = std::bit_floor(depth), stride = (depth + kCodePadding - 1) / kCodePadding * kCodePadding;
  std::vector<float> mean(depth), signs(2 * window);
  random.fill(mean.data(), depth, 1.0F);
  const auto size = static_cast<float>(1 / std::sqrt(static_cast<double>(window)));
  for (float& sign : signs) sign = random.next() % 2 == 0 ? size : -size;
  auto columns = support::AlignedBuffer<float>::uninitialised(depth * kCodeRows);
  for (std::size_t j = 0; j < kCodeRows; ++j) {  // the second group: zeros after centering, but for depth's own cases
    for (std::size_t i = 0; i < depth; ++i) {
      columns[i * kCodeRows + j] = j < kCodeGroup ? random.signed_unit() * static_cast<float>(j + 1) : mean[i];
    }
  }
  std::vector<std::vector<double>> expected;
  for (std::size_t j = 0; j < kCodeRows; ++j) {
    std::vector<double> v(depth);
    for (std::size_t i = 0; i < depth; ++i) v[i] = static_cast<double>(columns[i * kCodeRows + j] - mean[i]);
    expected.push_back(turned(v, signs, window));
  }
  table.turn_columns_f32({columns.data(), mean.data(), signs.data(), static_cast<std::uint32_t>(depth),
                          static_cast<std::uint32_t>(window)});
  const std::string where = text("depth", depth);
  const double unit_error = 2 * (std::log2(static_cast<double>(window)) + 2) * kUnit * 1.001;
  for (std::size_t j = 0; j < kCodeRows; ++j) {
    double difference = 0, square = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      difference += std::pow(columns[i * kCodeRows + j] - expected[j][i], 2);
      square += expected[j][i] * expected[j][i];
    }
    report.expect_near(std::sqrt(difference), 0, unit_error * std::sqrt(square), "turn_columns_f32" + where);
  }
  std::vector<std::uint8_t> codes(kCodeRows * stride + 1, 77);
  float scales[2], lengths[2], errors[2], squares[kCodeRows];
  table.code_rows_u8({columns.data(), codes.data(), scales, lengths, errors, squares, nullptr, nullptr, nullptr,
                      nullptr, nullptr, nullptr, stride, static_cast<std::uint32_t>(depth)});
  report.expect(codes.back() == 77, "code_rows_u8" + where + ": wrote behind the codes");
  report.expect(scales[1] == 1.0F && lengths[1] == 0.0F, "code_rows_u8" + where + ": a group of zeros");
  double greatest[2][2] = {};
  for (std::size_t j = 0; j < kCodeRows; ++j) {
    double length = 0, error = 0, square = 0;
    for (std::size_t i = 0; i < stride; ++i) {
      const double y = i < depth ? columns[i * kCodeRows + j] : 0.0F;
      const int code = codes[j * stride + i] - kCodeZero;
      report.expect(code >= -127 && code <= 127, "code_rows_u8" + where + ": a code out of range");
      length += code * code;
      error += std::pow(y * scales[j / kCodeGroup] - code, 2);
      square += y * y;
    }
    const double room = (static_cast<double>(depth) + 2) * kUnit, root = std::sqrt(static_cast<double>(depth));
    greatest[0][j / kCodeGroup] = std::max(greatest[0][j / kCodeGroup], length);
    greatest[1][j / kCodeGroup] = std::max(greatest[1][j / kCodeGroup], error);
    report.expect(length <= lengths[j / kCodeGroup] * (1 + room), "code_rows_u8" + where + ": lengths");
    report.expect(std::sqrt(error) <= std::sqrt(errors[j / kCodeGroup]) * (1 + room) + root * 0x1p-17,
                  "code_rows_u8" + where + ": errors");
    report.expect(std::sqrt(error) <= 0.5001 * std::sqrt(static_cast<double>(depth)), "code_rows_u8" + where);
    report.expect_near(squares[j], square, (static_cast<double>(depth) + 2) * kUnit * square, "code_rows_u8 squares");
  }
  for (std::size_t g = 0; g < 2; ++g) {
    report.expect_near(lengths[g], greatest[0][g], 1e-4 * greatest[0][g], "code_rows_u8" + where + ": lengths");
    report.expect_near(errors[g], greatest[1][g], 1e-3 * greatest[1][g] + 1e-6, "code_rows_u8" + where + ": errors");
  }
}

void check_kth(const KernelTable& table, Report& report) {
  Random random(5);
  for (const std::size_t count : {1UL, 2UL, 15UL, 16UL, 17UL, 24UL, 25UL, 48UL, 49UL, 64UL, 244UL}) {
    for (const int kind : {0, 1, 2}) {
      std::vector<float> values(count + kRowPadding, -std::numeric_limits<float>::infinity());
      for (std::size_t i = 0; i < count; ++i) {
        values[i] = kind == 0 ? random.signed_unit() : static_cast<float>(static_cast<int>(random.next() % 3) - 1);
        if (kind == 2 && i % 3 == 0) values[i] = i % 2 == 0 ? -std::numeric_limits<float>::infinity() : 1e-42F;
      }
      std::vector<float> sorted(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count));
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      for (std::size_t k = 1; k <= count; ++k) {
        report.expect(table.kth_greatest_f32(values.data(), count, k) == sorted[k - 1],
                      "kth_greatest_f32" + text("count", count) + text("k", k));
      }
    }
  }
}

}  // namespace

void check_code_products(const KernelTable& table, Report& report) {
  for (const std::size_t depth : kCodeDepths) {
    for (const std::size_t rows : {8UL, 24UL, 40UL, 104UL}) {
      for (const std::uint32_t width : kPanelWidths) {
        const std::int32_t most =
            std::min(table.code_query_limit(), static_cast<std::int32_t>(INT32_MAX / (256 * depth)));
        const CodeCase data(table, rows, depth, width, most, depth + rows);
        check_scans(table, data, false, report);
        check_scans(table, data, true, report);
      }
    }
  }
  // The greatest products and corrections that int32 must hold beside thresholds of either infinity.
  constexpr std::size_t kDeepest = 65536;
  const std::int32_t most = std::min(table.code_query_limit(), static_cast<std::int32_t>(INT32_MAX / (256 * kDeepest)));
  for (const std::uint32_t width : kPanelWidths) {
    check_scans(table, CodeCase(table, 40, kDeepest, width, most, width, true), false, report);
  }
  check_singles(table, report);
  check_code_peak(table, report);
}

void check_codes(const KernelTable& table, Report& report) {
  check_code_products(table, report);
  for (const std::size_t depth : {1UL, 2UL, 3UL, 7UL, 8UL, 16UL, 17UL, 31UL, 32UL, 64UL, 100UL, 128UL, 300UL}) {
    check_coding(table, depth, report);
  }
  check_kth(table, report);
}

}  // namespace fastembed::check
