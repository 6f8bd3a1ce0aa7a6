// Checks of rows in 4 bits: what codes of 8 bits leave over, and their upper halves. How they are rounded, and products
// with codes and residuals together, with upper halves alone, and with these and two bits more.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "code_scan_check.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::check {
namespace {

constexpr std::uint8_t kUnwritten = 0xa5;

int nibble_of(const std::uint8_t* row, std::size_t i) {
  const std::size_t half = kNibbleBlock / 2, place = i % kNibbleBlock;
  const int both = row[i / kNibbleBlock * half + place % half];
  return place < half ? both % 16 : both / 16;
}
int quarter_of(const std::uint8_t* row, std::size_t i) {
  const std::size_t apart = kNibbleBlock / 4, place = i % kNibbleBlock;
  return row[i / kNibbleBlock * apart + place % apart] >> (2 * (place / apart)) & 3;
}
int residual_of(const std::uint8_t* row, std::size_t i) { return nibble_of(row, i) - kResidualZero; }

// The codes of two groups of rows, with or without residuals and upper halves.
struct Coded {
  Coded(const KernelTable& table, const float* columns, std::size_t depth, bool refines)
      : stride((depth + kCodePadding - 1) / kCodePadding * kCodePadding),
        codes(kCodeRows * stride),
        residuals(kCodeRows * nibble_stride(depth) + 1, kUnwritten),
        coarse(residuals),
        quarters(kCodeRows * quarter_stride(depth) + 1, kUnwritten) {
    table.code_rows_u8({columns, codes.data(), terms[0], terms[1], terms[2], squares,
                        refines ? residuals.data() : nullptr, terms[3], refines ? coarse.data() : nullptr, terms[4],
                        refines ? quarters.data() : nullptr, terms[5], stride, static_cast<std::uint32_t>(depth)});
  }
  std::size_t stride;
  std::vector<std::uint8_t> codes, residuals, coarse, quarters;
  float terms[6][2] = {};  // scales, lengths, errors, those of residuals, of upper halves and of the upper six bits
  float squares[kCodeRows] = {};
};

void check_rounding(const KernelTable& table, std::size_t depth, Report& report) {
  const std::string where = "code_rows_u8 with residuals" + text("depth", depth);
  Random random(depth);
  auto columns = support::AlignedBuffer<float>::uninitialised(depth * kCodeRows);
  for (std::size_t j = 0; j < kCodeRows; ++j) {  // the second group: steps of exactly 1/32 of a code, halves included
    for (std::size_t i = 0; i < depth; ++i) {
      const auto steps = static_cast<float>(random.next() % 8129) - 4064.0F;
      columns[i * kCodeRows + j] = j < kCodeGroup ? random.signed_unit() * static_cast<float>(j + 1) : steps / 32.0F;
    }
  }
  columns[kCodeGroup] = 127.0F;
  const Coded plain(table, columns.data(), depth, false), refined(table, columns.data(), depth, true);
  report.expect(plain.codes == refined.codes && std::equal(plain.squares, plain.squares + kCodeRows, refined.squares),
                where + ": other codes");
  for (const int term : {0, 1, 2}) {
    report.expect(std::equal(plain.terms[term], plain.terms[term] + 2, refined.terms[term]), where + ": other terms");
  }
  report.expect(plain.residuals == std::vector<std::uint8_t>(plain.residuals.size(), kUnwritten), where + ": wrote");
  report.expect(plain.coarse == plain.residuals, where + ": wrote upper halves");
  report.expect(refined.residuals.back() == kUnwritten, where + ": wrote behind the residuals");
  report.expect(plain.quarters == std::vector<std::uint8_t>(plain.quarters.size(), kUnwritten),
                where + ": wrote quarters");
  report.expect(refined.coarse.back() == kUnwritten, where + ": wrote behind the upper halves");
  report.expect(refined.quarters.back() == kUnwritten, where + ": wrote behind the quarters");
  double greatest[3][2] = {};
  for (std::size_t j = 0; j < kCodeRows; ++j) {
    double squares[3] = {};
    for (std::size_t i = 0; i < depth; ++i) {
      const float scaled = columns[i * kCodeRows + j] * refined.terms[0][j / kCodeGroup];
      const int code = refined.codes[j * refined.stride + i] - kCodeZero;
      const int residual = residual_of(refined.residuals.data() + j * nibble_stride(depth), i);
      const double error = double{scaled} - code, rest = error - residual / double{kResidualSteps};
      report.expect(std::fabs(rest) <= 1.0 / 32 || (residual == 7 && rest > 0 && error <= 0.5),
                    where + text("row", j) + text("element", i) + ": not the nearest");
      squares[0] += rest * rest;
      const int half = nibble_of(refined.coarse.data() + j * nibble_stride(depth), i);
      report.expect(half == (code + kCodeZero) / 16, where + text("row", j) + text("element", i) + ": no upper half");
      squares[1] += std::pow(double{scaled} - kCoarseUnit * (2 * half - kCoarseZero), 2);
      const int six = 4 * half + quarter_of(refined.quarters.data() + j * quarter_stride(depth), i);
      report.expect(six == (code + kCodeZero) / 4, where + text("row", j) + text("element", i) + ": not six bits");
      squares[2] += std::pow(double{scaled} - kMediumUnit * (2 * six - kMediumZero), 2);
    }
    for (const int part : {0, 1, 2}) {
      greatest[part][j / kCodeGroup] = std::max(greatest[part][j / kCodeGroup], squares[part]);
    }
  }
  for (const int part : {0, 1, 2}) {
    for (const int group : {0, 1}) {
      const double wanted = greatest[part][group];
      report.expect_near(refined.terms[3 + part][group], wanted, (static_cast<double>(depth) + 2) * kUnit * wanted,
                         where + text("error", static_cast<std::size_t>(part)));
    }
  }
}

// Against sums in int64. `is_extreme`: rows and a query whose elements are all the greatest or least.
void check_product(const KernelTable& table, std::size_t depth, bool is_extreme, Report& report) {
  const std::string where = "refined_product" + text("depth", depth) + text("extreme", is_extreme ? 1 : 0);
  const std::size_t blocks = (depth + kNibbleBlock - 1) / kNibbleBlock;
  Random random(depth + 7);
  // Of both sides' lengths, below 2^31: 16 * 128 is more than any element of a row.
  const double most = std::min(32000.0, 0x1p31 / (2048.0 * static_cast<double>(depth)) - 1.0);
  const auto limit = static_cast<std::uint64_t>(most);
  std::vector<std::uint8_t> codes(blocks * kNibbleBlock), residuals(blocks * kNibbleBlock / 2);
  std::vector<std::int16_t> query(blocks * kNibbleBlock);
  for (int round = 0; round < 4; ++round) {
    const bool is_high = round % 2 == 0;
    for (auto& code : codes)
      code = static_cast<std::uint8_t>(is_extreme ? (is_high ? 255 : 1) : 1 + random.next() % 255);
    for (auto& both : residuals) both = static_cast<std::uint8_t>(is_extreme ? (is_high ? 0xff : 0) : random.next());
    std::int64_t wanted = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      const auto element =
          static_cast<std::int64_t>(random.next() % (2 * limit + 1)) - static_cast<std::int64_t>(limit);
      query[i] = static_cast<std::int16_t>(is_extreme ? (round < 2 ? most : -most) : static_cast<double>(element));
      wanted += std::int64_t{query[i]} * (kResidualSteps * (codes[i] - kCodeZero) + residual_of(residuals.data(), i));
    }
    const std::int32_t got = table.refined_product({codes.data(), residuals.data(), query.data(), blocks});
    report.expect(got == wanted, where + text("round", static_cast<std::size_t>(round)));
  }
}

// Against sums in int64, with whatever lies behind the last element and the last row.
void check_coarse_scan(const KernelTable& table, std::size_t depth, std::size_t groups, bool is_extreme,
                       Report& report) {
  const std::string where = "scan_coarse_rows" + text("depth", depth) + text("groups", groups);
  const std::size_t stride = nibble_stride(depth), rows = groups * kCodeGroup;
  Random random(depth + groups);
  std::vector<std::uint8_t> halves(rows * stride + kCodeSlack);
  for (auto& both : halves) both = static_cast<std::uint8_t>(is_extreme ? 0xff : random.next());
  std::vector<std::int16_t> query(depth);
  for (auto& element : query) {
    element = static_cast<std::int16_t>(is_extreme ? -127 : static_cast<std::int64_t>(random.next() % 255) - 127);
  }
  auto panel = support::AlignedBuffer<std::int8_t>::uninitialised(depth + 128);
  std::int32_t correction = 0;
  table.pack_coarse_query({query.data(), panel.data(), &correction, 1, static_cast<std::uint32_t>(depth), 1});
  std::vector<std::int32_t> products(rows + 1, 77);
  table.scan_coarse_rows(halves.data(), stride, rows, panel.data(), correction, products.data());
  for (std::size_t r = 0; r < rows; ++r) {
    std::int64_t wanted = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      wanted += (2 * nibble_of(halves.data() + r * stride, i) - kCoarseZero) * query[i];
    }
    report.expect(products[r] == wanted, where + text("row", r));
  }
  report.expect(products.back() == 77, where + ": wrote behind the rows");
}

// As scan_codes, with whatever lies behind the last element, and nothing behind the last row. `is_extreme`: all
// elements are the greatest or least.
void check_medium_scan(const KernelTable& table, std::size_t rows, std::size_t depth, std::uint32_t width,
                       bool is_extreme, Report& report) {
  Random random(depth + rows + width);
  std::vector<std::uint8_t> coarse(rows * nibble_stride(depth)), quarters(rows * quarter_stride(depth));
  for (auto& both : coarse) both = static_cast<std::uint8_t>(is_extreme ? 0xff : random.next());
  for (auto& four : quarters) four = static_cast<std::uint8_t>(is_extreme ? 0xff : random.next());
  const std::size_t count = width - 3;
  const std::int32_t most = std::min(table.code_query_limit(), static_cast<std::int32_t>(INT32_MAX / (256 * depth)));
  std::vector<std::int16_t> queries(count * depth);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const auto element = static_cast<std::int32_t>(random.next() % (2 * static_cast<std::uint64_t>(most) + 1)) - most;
    queries[i] = static_cast<std::int16_t>(is_extreme ? (i / depth % 2 == 0 ? most : -most) : element);
  }
  auto panel = support::AlignedBuffer<std::int16_t>::uninitialised(width * (depth + 64));
  std::vector<std::int32_t> corrections(width);
  table.pack_code_panel({queries.data(), panel.data(), corrections.data(), static_cast<std::uint32_t>(count),
                         static_cast<std::uint32_t>(depth), width});
  std::vector<double> products(rows * width);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t j = 0; j < count; ++j) {
      std::int64_t sum = 0;
      for (std::size_t i = 0; i < depth; ++i) {
        const int six = 4 * nibble_of(coarse.data() + r * nibble_stride(depth), i) +
                        quarter_of(quarters.data() + r * quarter_stride(depth), i);
        sum += (2 * six - kMediumZero) * queries[j * depth + i];
      }
      products[r * width + j] = static_cast<double>(sum);
    }
  }
  const std::size_t strip = kMediumStrip * 2 * nibble_stride(depth);
  auto room = support::AlignedBuffer<std::uint8_t>::uninitialised(2 * strip + 1);
  room.data()[2 * strip] = kUnwritten;
  const ScanCase scan{"scan_medium_codes" + text("rows", rows) + text("depth", depth) + text("width", width),
                      coarse.data(),
                      0,
                      panel.data(),
                      corrections.data(),
                      rows,
                      depth,
                      width,
                      products,
                      std::vector<double>(products.size()),
                      40.0 * std::sqrt(static_cast<double>(depth)) * table.code_query_limit(),
                      2};
  const auto kernel = [&](const CodeScan& step) {
    return table.scan_medium_codes(step, {coarse.data(), quarters.data(), room.data()});
  };
  for (const bool has_terms : {false, true}) {
    for (const bool rare : {false, true}) check_code_scan(kernel, scan, has_terms, rare, report);
  }
  check_products(kernel, scan, 1, report);
  report.expect(room.data()[2 * strip] == kUnwritten, scan.name + ": wrote behind its room");
}

}  // namespace

void check_medium_scans(const KernelTable& table, Report& report) {
  for (const std::size_t depth : {4UL, 60UL, 64UL, 68UL, 100UL, 128UL, 300UL, 384UL, 520UL}) {
    for (const std::size_t rows : {16UL, 32UL, 80UL}) {
      for (const std::uint32_t width : {kNarrowPanelQueries, kPanelQueries}) {
        check_medium_scan(table, rows, depth, width, false, report);
        check_medium_scan(table, rows, depth, width, true, report);
      }
    }
  }
}

void check_coarse_scans(const KernelTable& table, Report& report) {
  for (std::size_t depth = 1; depth <= 300; ++depth) check_coarse_scan(table, depth, 1 + depth % 3, false, report);
  for (const std::size_t depth : {64UL, 128UL, 384UL, 768UL, 1000UL, 65536UL}) {
    for (const std::size_t groups : {0UL, 1UL, 5UL}) {
      check_coarse_scan(table, depth, groups, false, report);
      check_coarse_scan(table, depth, groups, true, report);
    }
  }
}

void check_residuals(const KernelTable& table, Report& report) {
  for (const std::size_t depth : {1UL, 7UL, 31UL, 32UL, 33UL, 63UL, 64UL, 65UL, 96UL, 100UL, 128UL, 300UL, 768UL}) {
    check_rounding(table, depth, report);
    check_product(table, depth, false, report);
    check_product(table, depth, true, report);
  }
  for (const std::size_t depth : {4096UL, 65536UL}) check_product(table, depth, true, report);
}

}  // namespace fastembed::check
