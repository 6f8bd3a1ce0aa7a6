// Checks of widen_rows and scan_narrow_rows: every 16-bit pattern that is finite, and every int8 times scales of all
// sizes, to the last bit.
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check_support.hpp"

namespace fastembed::check {
namespace {

// What 16 bits stand for, by the fields of IEEE 754: `exponent_bits` of exponent, the rest of fraction.
double value_of(std::uint32_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const double fraction = static_cast<double>(bits & ((1U << fraction_bits) - 1U));
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                                         : std::ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

bool same_bits(float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); }

void check_patterns(const KernelTable& table, Report& report) {
  for (const Storage storage : {Storage::kFloat16, Storage::kBfloat16}) {
    const int exponent_bits = storage == Storage::kFloat16 ? 5 : 8;
    std::vector<std::uint16_t> patterns;
    for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
      const std::uint32_t all = (1U << exponent_bits) - 1U;
      if (((bits >> (15 - exponent_bits)) & all) != all) patterns.push_back(static_cast<std::uint16_t>(bits));
    }
    std::vector<float> out(patterns.size());
    table.widen_rows({patterns.data(), 0, nullptr, 1, static_cast<std::uint32_t>(patterns.size()), storage}, out.data(),
                     0);
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      const auto wanted = static_cast<float>(value_of(patterns[i], exponent_bits));
      report.expect(same_bits(out[i], wanted), "widen_rows" + text("16-bit pattern", patterns[i]));
    }
  }
  std::vector<std::int8_t> codes;
  for (int code = -128; code < 128; ++code) codes.push_back(static_cast<std::int8_t>(code));
  std::vector<float> out(codes.size());
  for (const float scale : {0.0F, 0x1p-149F, 0x1.8p-130F, 1.0F / 3.0F, 0.1F, 1.0F, 3e30F, 2e36F}) {
    table.widen_rows({codes.data(), 0, &scale, 1, 256, Storage::kInt8}, out.data(), 0);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      report.expect(same_bits(out[i], static_cast<float>(codes[i]) * scale), "widen_rows" + text("int8", i));
    }
  }
}

// Products with a query, of `rows` and of their first row alone; `widened` is what they stand for.
void check_products(const KernelTable& table, const NarrowRows& rows, const float* widened, std::size_t stride,
                    Report& report) {
  const std::size_t depth = rows.depth;
  std::vector<float> query(depth);
  Random random(22);
  random.fill(query.data(), depth, 2.0F);
  for (const std::size_t count : {rows.count, std::size_t{1}}) {
    NarrowRows some = rows;
    some.count = count;
    std::vector<float> products(count + 1, kGuardValue);
    table.scan_narrow_rows(some, query.data(), products.data());
    const std::string where = "scan_narrow_rows" + text("depth", depth) + text("count", count);
    for (std::size_t r = 0; r < count; ++r) {
      double sum = 0, row_square = 0, query_square = 0;
      for (std::size_t i = 0; i < depth; ++i) {
        const double x = widened[r * stride + i], q = query[i];
        sum += x * q;
        row_square += x * x;
        query_square += q * q;
      }
      const double terms = static_cast<double>(depth) * kUnit;
      const double bound =
          terms / (1 - terms) * std::sqrt(row_square * query_square) + static_cast<double>(depth) * 0x1p-149;
      report.expect_near(products[r], sum, bound, where);
    }
    report.expect(products[count] == kGuardValue, where + ": wrote behind the rows");
  }
}

// Rows of every length, at any stride and place: as patterns say, and nothing beside them is written. That nothing
// beside them is read is for the sanitizer to see: the last row ends its memory.
void check_layouts(const KernelTable& table, Storage storage, Report& report) {
  const std::size_t bytes = storage == Storage::kInt8 ? 1 : 2;
  Random random(21);
  for (const std::size_t depth : kLengths) {
    for (const std::size_t shift : {0, 1, 3}) {
      constexpr std::size_t kRows = 11;
      const std::size_t stride = depth + shift, out_stride = depth + 2;
      std::vector<unsigned char> elements(((kRows - 1) * stride + depth + shift) * bytes);
      for (auto& element : elements)
        element = static_cast<unsigned char>(random.next() & 0x3bU);  // finite in any format
      const unsigned char* const first = elements.data() + shift * bytes;
      std::vector<float> scales(kRows);
      random.fill(scales.data(), kRows, 2.0F);
      std::vector<float> out(kRows * out_stride, kGuardValue);
      const NarrowRows rows{first,
                            stride * bytes,
                            storage == Storage::kInt8 ? scales.data() : nullptr,
                            kRows,
                            static_cast<std::uint32_t>(depth),
                            storage};
      table.widen_rows(rows, out.data(), out_stride);
      check_products(table, rows, out.data(), out_stride, report);
      const std::string where = "widen_rows" + text("storage", static_cast<std::size_t>(storage)) +
                                text("depth", depth) + text("shift", shift);
      for (std::size_t r = 0; r < kRows; ++r) {
        for (std::size_t i = 0; i < out_stride; ++i) {
          float wanted = kGuardValue;
          const unsigned char* const at = first + (r * stride + i) * bytes;
          if (i < depth && storage == Storage::kInt8) {
            wanted = static_cast<float>(static_cast<std::int8_t>(*at)) * scales[r];
          } else if (i < depth) {
            std::uint16_t half;
            std::memcpy(&half, at, sizeof(half));
            wanted = static_cast<float>(value_of(half, storage == Storage::kFloat16 ? 5 : 8));
          }
          report.expect(same_bits(out[r * out_stride + i], wanted), where);
        }
      }
    }
  }
}

}  // namespace

void check_stored_rows(const KernelTable& table, Report& report) {
  check_patterns(table, report);
  for (const Storage storage : {Storage::kFloat16, Storage::kBfloat16, Storage::kInt8}) {
    check_layouts(table, storage, report);
  }
}

}  // namespace fastembed::check
