// Checks of products in parts of bfloat16: the parts are the elements, and the products are within the bound of
// SplitProduct.
#include <algorithm>
#include <cmath>
#include <vector>

#include "check_support.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::check {
namespace {

using Parts = support::AlignedBuffer<std::uint16_t>;

// Vectors of norms 1/2 .. 1, before they are multiplied by their scales.
struct Vectors {
  Vectors(std::size_t vectors, std::size_t elements, std::uint64_t seed)
      : count(vectors), depth(elements), stride(depth + seed % 3), values(count * stride), scales(count) {
    Random random(seed);
    random.fill(values.data(), values.size(), 1.0F);
    for (std::size_t v = 0; v < count; ++v) {
      double square = 0;
      for (std::size_t i = 0; i < depth; ++i) square += double{at(v)[i]} * at(v)[i];
      const int exponent = static_cast<int>(random.next() % 60) - 30;
      scales[v] = std::ldexp(1.0F, -std::ilogb(std::sqrt(square)) - 1 - exponent);
      for (std::size_t i = 0; i < depth; ++i) at(v)[i] = std::ldexp(at(v)[i], exponent);
    }
  }
  float* at(std::size_t v) { return values.data() + v * stride; }
  [[nodiscard]] double element(std::size_t v, std::size_t i) const {
    return double{values[v * stride + i]} * scales[v];
  }

  std::size_t count, depth, stride;
  std::vector<float> values, scales;
};

Parts pack(const KernelTable& table, const Vectors& vectors, bool as_columns) {
  Parts parts = Parts::uninitialised(split_elements(vectors.count, vectors.depth));
  std::fill_n(parts.data(), parts.size(), std::uint16_t{0x7fc1});  // NaN, which must all be overwritten
  table.pack_split({vectors.values.data(), vectors.stride, vectors.scales.data(), parts.data(),
                    static_cast<std::uint32_t>(vectors.count), static_cast<std::uint32_t>(vectors.depth),
                    as_columns ? 1U : 0U});
  return parts;
}

void check_parts(const KernelTable& table, const Vectors& vectors, Report& report) {
  for (const bool as_columns : {false, true}) {
    const Parts parts = pack(table, vectors, as_columns);
    const std::size_t steps = split_steps(vectors.depth);
    const std::size_t padded = (vectors.count + kSplitBlock - 1) / kSplitBlock * kSplitBlock;
    for (std::size_t v = 0; v < padded; ++v) {
      for (std::size_t i = 0; i < steps * kSplitDepth; ++i) {
        const std::size_t lane = v % kSplitSide, k = i % kSplitDepth;
        const std::size_t place = as_columns ? (k / 2 * kSplitSide + lane) * 2 + k % 2 : lane * kSplitDepth + k;
        double sum = 0, part[kSplitParts];
        for (std::size_t p = 0; p < kSplitParts; ++p) {
          const std::size_t tile = (v / kSplitSide * steps + i / kSplitDepth) * kSplitParts + p;
          part[p] = __builtin_bit_cast(float, std::uint32_t{parts[tile * kSplitTile + place]} << 16);
          sum += part[p];
        }
        const double wanted = v < vectors.count && i < vectors.depth ? vectors.element(v, i) : 0.0;
        const std::string where = "pack_split" + text("vector", v) + text("element", i);
        report.expect(sum == wanted, where);
        report.expect(std::fabs(part[1]) <= 0x1p-8 * std::fabs(wanted), where + ": middle part");
        report.expect(std::fabs(part[2]) <= 0x1p-16 * std::fabs(wanted), where + ": low part");
      }
    }
  }
}

void check_products(const KernelTable& table, const Vectors& rows, const Vectors& columns, Report& report) {
  const Parts row_parts = pack(table, rows, false), column_parts = pack(table, columns, true);
  const std::size_t padded = (columns.count + kSplitBlock - 1) / kSplitBlock * kSplitBlock;
  std::vector<float> row_factors(rows.count), row_squares(rows.count), column_factors(padded), column_squares(padded);
  Random random(3);
  for (std::vector<float>* const values : {&row_factors, &row_squares, &column_factors, &column_squares}) {
    for (float& value : *values) value = 1.5F + random.signed_unit();
  }
  const auto depth = static_cast<double>(rows.depth);
  for (const int kind : {0, 1, 2}) {
    const bool squared = kind == 1, stream = kind == 2;
    const std::size_t stride = stream ? (columns.count + 15) / 16 * 16 : columns.count + 3;
    support::AlignedBuffer<float> out(rows.count * stride);
    std::fill_n(out.data(), rows.count * stride, kGuardValue);
    table.multiply_split({row_parts.data(), column_parts.data(), row_factors.data(), column_factors.data(),
                          squared ? row_squares.data() : nullptr, squared ? column_squares.data() : nullptr, out.data(),
                          stride, static_cast<std::uint32_t>(rows.count), static_cast<std::uint32_t>(columns.count),
                          static_cast<std::uint32_t>(rows.depth), stream ? 1U : 0U});
    for (std::size_t r = 0; r < rows.count; ++r) {
      for (std::size_t j = 0; j < stride; ++j) {
        const std::string where = "multiply_split" + text("rows", rows.count) + text("columns", columns.count) +
                                  text("depth", rows.depth) + text("r", r) + text("j", j);
        if (j >= columns.count) {
          report.expect(out[r * stride + j] == kGuardValue, where + ": wrote beside the columns");
          continue;
        }
        double sum = 0, sizes = 0;
        for (std::size_t i = 0; i < rows.depth; ++i) {
          const double product = rows.element(r, i) * columns.element(j, i);
          sum += product;
          sizes += std::fabs(product);
        }
        const double factor = double{row_factors[r]} * column_factors[j];
        const double squares = double{row_squares[r]} + column_squares[j];
        const double wanted = squared ? std::max(0.0, squares - 2 * sum * factor) : sum * factor;
        double bound = (1.05 * depth + 6) * kUnit * sizes * factor + 3 * kUnit * std::fabs(sum * factor);
        if (squared) bound = 2 * bound + 3 * kUnit * squares;
        report.expect_near(out[r * stride + j], wanted, bound, where);
      }
    }
  }
}

}  // namespace

void check_split(const KernelTable& table, Report& report) {
  std::uint64_t seed = 1;
  for (const std::size_t depth : {1UL, 2UL, 31UL, 32UL, 33UL, 64UL, 100UL, 300UL}) {
    for (const std::size_t count : {1UL, 15UL, 16UL, 17UL, 32UL, 33UL, 70UL}) {
      const Vectors rows(count, depth, ++seed), columns(count * 7 % 50 + 1, depth, ++seed);
      check_parts(table, rows, report);
      check_products(table, rows, columns, report);
    }
  }
}

}  // namespace fastembed::check
