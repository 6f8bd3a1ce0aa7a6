// Checks of what codes of 8 bits leave over, in 4 bits more: how it is rounded, and products with codes and that.
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

// r of element i of a row.
int residual_of(const std::uint8_t* row, std::size_t i) {
  const std::size_t half = kResidualBlock / 2, place = i % kResidualBlock;
  const int both = row[i / kResidualBlock * half + place % half];
  return (place < half ? both % kResidualSteps : both / kResidualSteps) - kResidualZero;
}

// The codes of two groups of rows, with or without residuals.
struct Coded {
  Coded(const KernelTable& table, const float* columns, std::size_t depth, bool refines)
      : stride((depth + kCodePadding - 1) / kCodePadding * kCodePadding),
        codes(kCodeRows * stride),
        residuals(kCodeRows * residual_stride(depth) + 1, kUnwritten) {
    table.code_rows_u8({columns, codes.data(), terms[0], terms[1], terms[2], squares,
                        refines ? residuals.data() : nullptr, refines ? terms[3] : nullptr, stride,
                        static_cast<std::uint32_t>(depth)});
  }
  std::size_t stride;
  std::vector<std::uint8_t> codes, residuals;
  float terms[4][2] = {};  // scales, lengths, errors, those of residuals
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
  report.expect(refined.residuals.back() == kUnwritten, where + ": wrote behind the residuals");
  double greatest[2] = {};
  for (std::size_t j = 0; j < kCodeRows; ++j) {
    double square = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      const float scaled = columns[i * kCodeRows + j] * refined.terms[0][j / kCodeGroup];
      const int code = refined.codes[j * refined.stride + i] - kCodeZero;
      const int residual = residual_of(refined.residuals.data() + j * residual_stride(depth), i);
      const double error = double{scaled} - code, rest = error - residual / double{kResidualSteps};
      report.expect(std::fabs(rest) <= 1.0 / 32 || (residual == 7 && rest > 0 && error <= 0.5),
                    where + text("row", j) + text("element", i) + ": not the nearest");
      square += rest * rest;
    }
    greatest[j / kCodeGroup] = std::max(greatest[j / kCodeGroup], square);
  }
  for (const int group : {0, 1}) {
    report.expect_near(refined.terms[3][group], greatest[group],
                       (static_cast<double>(depth) + 2) * kUnit * greatest[group], where + ": error");
  }
}

// Against sums in int64. `is_extreme`: rows and a query whose elements are all the greatest or least.
void check_product(const KernelTable& table, std::size_t depth, bool is_extreme, Report& report) {
  const std::string where = "refined_product" + text("depth", depth) + text("extreme", is_extreme ? 1 : 0);
  const std::size_t blocks = (depth + kResidualBlock - 1) / kResidualBlock;
  Random random(depth + 7);
  // Of both sides' lengths, below 2^31: 16 * 128 is more than any element of a row.
  const double most = std::min(32000.0, 0x1p31 / (2048.0 * static_cast<double>(depth)) - 1.0);
  const auto limit = static_cast<std::uint64_t>(most);
  std::vector<std::uint8_t> codes(blocks * kResidualBlock), residuals(blocks * kResidualBlock / 2);
  std::vector<std::int16_t> query(blocks * kResidualBlock);
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

}  // namespace

void check_residuals(const KernelTable& table, Report& report) {
  for (const std::size_t depth : {1UL, 7UL, 31UL, 32UL, 33UL, 63UL, 64UL, 65UL, 96UL, 100UL, 128UL, 300UL, 768UL}) {
    check_rounding(table, depth, report);
    check_product(table, depth, false, report);
    check_product(table, depth, true, report);
  }
  for (const std::size_t depth : {4096UL, 65536UL}) check_product(table, depth, true, report);
}

}  // namespace fastembed::check
