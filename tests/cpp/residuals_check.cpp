// Checks of rows in 4 bits: what codes of 8 bits leave over, and their upper halves. How they are rounded, and products
// with codes and residuals together and with upper halves alone.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::check {
namespace {

constexpr std::uint8_t kUnwritten = 0xa5;

int nibble_of(const std::uint8_t* row, std::size_t i) {
  const std::size_t half = kNibbleBlock / 2, place = i % kNibbleBlock;
  const int both = row[i / kNibbleBlock * half + place % half];
  return place < half ? both % 16 : both / 16;
}
int residual_of(const std::uint8_t* row, std::size_t i) { return nibble_of(row, i) - kResidualZero; }

// The codes of two groups of rows, with or without residuals and upper halves.
struct Coded {
  Coded(const KernelTable& table, const float* columns, std::size_t depth, bool refines)
      : stride((depth + kCodePadding - 1) / kCodePadding * kCodePadding),
        codes(kCodeRows * stride),
        residuals(kCodeRows * nibble_stride(depth) + 1, kUnwritten),
        coarse(residuals) {
    table.code_rows_u8({columns, codes.data(), terms[0], terms[1], terms[2], squares,
                        refines ? residuals.data() : nullptr, terms[3], refines ? coarse.data() : nullptr, terms[4],
                        stride, static_cast<std::uint32_t>(depth)});
  }
  std::size_t stride;
  std::vector<std::uint8_t> codes, residuals, coarse;
  float terms[5][2] = {};  // scales, lengths, errors, those of residuals and of upper halves
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
  report.expect(refined.coarse.back() == kUnwritten, where + ": wrote behind the upper halves");
  double greatest[2] = {}, greatest_coarse[2] = {};
  for (std::size_t j = 0; j < kCodeRows; ++j) {
    double square = 0, coarse_square = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      const float scaled = columns[i * kCodeRows + j] * refined.terms[0][j / kCodeGroup];
      const int code = refined.codes[j * refined.stride + i] - kCodeZero;
      const int residual = residual_of(refined.residuals.data() + j * nibble_stride(depth), i);
      const double error = double{scaled} - code, rest = error - residual / double{kResidualSteps};
      report.expect(std::fabs(rest) <= 1.0 / 32 || (residual == 7 && rest > 0 && error <= 0.5),
                    where + text("row", j) + text("element", i) + ": not the nearest");
      square += rest * rest;
      const int half = nibble_of(refined.coarse.data() + j * nibble_stride(depth), i);
      report.expect(half == (code + kCodeZero) / 16, where + text("row", j) + text("element", i) + ": no upper half");
      coarse_square += std::pow(double{scaled} - kCoarseUnit * (2 * half - kCoarseZero), 2);
    }
    greatest_coarse[j / kCodeGroup] = std::max(greatest_coarse[j / kCodeGroup], coarse_square);
    greatest[j / kCodeGroup] = std::max(greatest[j / kCodeGroup], square);
  }
  for (const int group : {0, 1}) {
    report.expect_near(refined.terms[3][group], greatest[group],
                       (static_cast<double>(depth) + 2) * kUnit * greatest[group], where + ": error");
    report.expect_near(refined.terms[4][group], greatest_coarse[group],
                       (static_cast<double>(depth) + 2) * kUnit * greatest_coarse[group], where + ": coarse error");
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

}  // namespace

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
