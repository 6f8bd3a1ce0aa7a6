// Checks of the kernels over rows of bfloat16: rounding against its definition, products within the bound that the
// search relies on (and to the last bit where whole numbers leave nothing to round), thresholds, what lies behind a
// row.
#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "code_scan_check.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::check {
namespace {

constexpr std::size_t kEvenDepths[] = {2, 4, 8, 14, 30, 32, 34, 62, 64, 66, 100, 128, 258, 300, 516};
constexpr std::uint32_t kPanelWidths[] = {kNarrowPanelQueries, kPanelQueries};
constexpr std::uint16_t kNoNumber = 0x7fc0;

enum class Elements { kWhole, kAny };

float widened(std::uint16_t half) { return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16); }
std::uint16_t cut(float value) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16); }

float element(Random& random, Elements elements) {
  if (elements == Elements::kWhole) return static_cast<float>(static_cast<int>(random.next() % 9) - 4);
  if (random.next() % 16 == 0) return 1e-39F * random.signed_unit();  // denormal
  return 2.0F * random.signed_unit();
}

// Rows of bfloat16, NaN between and behind them, and queries, with their products.
struct Bf16Case {
  Bf16Case(const KernelTable& table, std::size_t row_count, std::size_t code_depth, std::uint32_t panel_width,
           Elements elements)
      : rows(row_count),
        depth(code_depth),
        stride(2 * depth + 4),
        width(panel_width),
        count(panel_width == 1 ? 1 : panel_width - 3),
        codes((rows * stride + kCodeSlack) / 2, kNoNumber),
        queries(count * depth),
        products(rows * width),
        errors(rows * width),
        panel(support::AlignedBuffer<float>::uninitialised(width * (depth + 64))),
        corrections(width) {
    Random random(depth + rows);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t i = 0; i < depth; ++i) codes[r * stride / 2 + i] = cut(element(random, elements));
    }
    const bool is_rounded = width != 1 && table.bf16_query_bits() == 16;
    for (float& value : queries)
      value = is_rounded ? widened(cut(element(random, elements))) : element(random, elements);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t j = 0; j < count; ++j) find_product(r, j, elements);
    }
    table.pack_bf16_panel(
        {queries.data(), panel.data(), static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(depth), width});
  }
  void find_product(std::size_t r, std::size_t j, Elements elements) {
    double sum = 0, row = 0, query = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      const double c = widened(codes[r * stride / 2 + i]), q = queries[j * depth + i];
      sum += c * q;
      row += c * c;
      query += q * q;
    }
    products[r * width + j] = sum;
    const auto terms = static_cast<double>(depth);
    if (elements == Elements::kWhole) return;
    errors[r * width + j] = (terms + 32) * 2 * kUnit * std::sqrt(row * query) + terms * 0x1p-124;
  }
  [[nodiscard]] const std::uint8_t* bytes() const { return reinterpret_cast<const std::uint8_t*>(codes.data()); }
  [[nodiscard]] std::string name(const char* kernel) const {
    return kernel + text("rows", rows) + text("depth", depth) + text("width", width);
  }

  std::size_t rows, depth, stride;
  std::uint32_t width;
  std::size_t count;
  std::vector<std::uint16_t> codes;
  std::vector<float> queries;
  std::vector<double> products, errors;
  support::AlignedBuffer<float> panel;
  std::vector<std::int32_t> corrections;
};

void check_scans(const KernelTable& table, Elements elements, Report& report) {
  for (const std::size_t depth : kEvenDepths) {
    for (const std::size_t rows : {8UL, 24UL, 64UL, 104UL}) {
      for (const std::uint32_t width : kPanelWidths) {
        const Bf16Case data(table, rows, depth, width, elements);
        const ScanCase scan{data.name("scan_bf16_codes"),
                            data.bytes(),
                            data.stride,
                            data.panel.data(),
                            data.corrections.data(),
                            rows,
                            depth,
                            width,
                            data.products,
                            data.errors,
                            2 * std::sqrt(static_cast<double>(depth)),
                            0};
        check_products(table.scan_bf16_codes, scan, elements == Elements::kWhole ? 1 : 7, report);
        for (const bool has_terms : {false, true}) {
          for (const bool rare : {false, true}) check_code_scan(table.scan_bf16_codes, scan, has_terms, rare, report);
          check_greatest(table.greatest_bf16_codes, scan, has_terms, report);
        }
      }
    }
  }
}

void check_singles(const KernelTable& table, Elements elements, Report& report) {
  for (const std::size_t depth : kEvenDepths) {
    const Bf16Case data(table, 24, depth, 1, elements);
    std::vector<float> products(data.rows + 1, kGuardValue);
    table.scan_bf16_rows(data.bytes(), data.stride, data.rows, depth, data.panel.data(), products.data());
    for (std::size_t r = 0; r < data.rows; ++r) {
      report.expect_near(products[r], data.products[r], data.errors[r], data.name("scan_bf16_rows") + text("row", r));
    }
    report.expect(products.back() == kGuardValue, data.name("scan_bf16_rows") + ": wrote behind the rows");
  }
}

// One row's codes against their definition; adds up what the group's terms are to be.
void check_row(const float* columns, const std::uint16_t* codes, std::size_t depth, std::size_t stride, float scale,
               double& length, double& error, Report& report) {
  const std::string where = "code_rows_bf16" + text("depth", depth);
  double row_length = 0, row_error = 0;
  for (std::size_t i = 0; i < stride; ++i) {
    const double scaled = i < depth ? double{columns[i * kCodeRows]} * scale : 0.0;
    const double code = widened(codes[i]), off = std::fabs(scaled - code);
    // Half a step of 8 significant bits.
    const double most = scaled == 0 ? 0.0 : std::ldexp(1.0, std::max(std::ilogb(scaled), -126) - 8);
    report.expect(off <= most + 0x1p-126 && std::fabs(code) <= 2, where + ": not the nearest");
    row_length += code * code;
    row_error += off * off;
  }
  length = std::max(length, row_length);
  error = std::max(error, row_error);
}

void check_coding(const KernelTable& table, std::size_t depth, float size, Report& report) {
  Random random(depth);
  const std::size_t stride = (depth + 1) / 2 * 2;  // in elements
  auto columns = support::AlignedBuffer<float>::uninitialised(depth * kCodeRows);
  for (std::size_t j = 0; j < kCodeRows; ++j) {  // the second group: zeros
    for (std::size_t i = 0; i < depth; ++i) {
      const float value = random.next() % 8 == 0 ? 1e-38F * random.signed_unit() : size * random.signed_unit();
      columns[i * kCodeRows + j] = j < kCodeGroup ? value : 0.0F;
    }
  }
  columns[3] = size;  // the greatest
  std::vector<std::uint16_t> codes(kCodeRows * stride + 1, kNoNumber);
  float scales[2], lengths[2], errors[2], squares[kCodeRows];
  table.code_rows_bf16({columns.data(), reinterpret_cast<std::uint8_t*>(codes.data()), scales, lengths, errors, squares,
                        nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 2 * stride,
                        static_cast<std::uint32_t>(depth)});
  const std::string where = "code_rows_bf16" + text("depth", depth);
  report.expect(codes.back() == kNoNumber, where + ": wrote behind the codes");
  report.expect(scales[1] == 1.0F && lengths[1] == 0.0F && errors[1] == 0.0F, where + ": a group of zeros");
  const bool is_codable = size >= 0x1p-60F && size <= 0x1p60F;
  const double scale = is_codable ? std::ldexp(1.0, -std::ilogb(size)) : 0.0;
  report.expect_near(scales[0], scale, 0, where + ": scale");
  const double room = (static_cast<double>(depth) + 2) * kUnit;
  for (std::size_t g = 0; g < 2; ++g) {
    double length = 0, error = 0;
    for (std::size_t j = g * kCodeGroup; j < (g + 1) * kCodeGroup; ++j) {
      check_row(columns.data() + j, codes.data() + j * stride, depth, stride, scales[g], length, error, report);
    }
    report.expect_near(lengths[g], length, room * length, where + ": lengths");
    report.expect_near(errors[g], error, room * error + static_cast<double>(depth) * 0x1p-120, where + ": errors");
  }
  for (std::size_t j = 0; j < kCodeRows && is_codable; ++j) {
    double square = 0;
    for (std::size_t i = 0; i < depth; ++i) square += std::pow(columns[i * kCodeRows + j], 2);
    report.expect_near(squares[j], square, room * square + static_cast<double>(depth) * 0x1p-149, where + ": squares");
  }
}

}  // namespace

void check_bf16_scans(const KernelTable& table, Report& report) {
  const std::uint32_t bits = table.bf16_query_bits();
  report.expect(bits == 16 || bits == 32, "bf16_query_bits");
  check_scans(table, Elements::kWhole, report);
  check_scans(table, Elements::kAny, report);
}

void check_bf16_codes(const KernelTable& table, Report& report) {
  check_bf16_scans(table, report);
  check_singles(table, Elements::kWhole, report);
  check_singles(table, Elements::kAny, report);
  for (const std::size_t depth : {1UL, 2UL, 3UL, 7UL, 8UL, 16UL, 17UL, 31UL, 32UL, 64UL, 100UL, 128UL, 300UL}) {
    for (const float size : {1.0F, 1.999F, 3e10F, 1e-17F, 1e19F, 1e-19F}) check_coding(table, depth, size, report);
  }
}

}  // namespace fastembed::check
