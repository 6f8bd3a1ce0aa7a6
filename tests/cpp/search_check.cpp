// Checks of the kernels of the search: products within the bound of PanelScan, sums of float64 to the last bit.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::check {
namespace {

constexpr std::size_t kRowCounts[] = {1, 2, 3, 7, 8, 11, 12, 13, 25, 40};
constexpr std::uint32_t kWidths[] = {kNarrowPanelQueries, kPanelQueries};

double bound_of(const std::vector<double>& products, double norms) {
  const auto depth = static_cast<double>(products.size());
  return depth * kUnit / (1 - depth * kUnit) * norms + depth * 0x1p-149;
}

// Rows and queries of one case, with the float64 products and the bounds on the float32 ones.
struct Case {
  Case(std::size_t row_count, std::size_t row_depth, std::size_t queries, std::size_t shift, std::uint64_t seed)
      : rows(row_count),
        depth(row_depth),
        width(queries),
        stride(depth + shift),
        matrix(row_count * stride + 4),
        panel(depth * width + 1),
        sums(row_count * width),
        bounds(row_count * width) {
    Random random(seed);
    random.fill(matrix.data(), matrix.size(), 2.0F);
    random.fill(panel.data(), panel.size(), 2.0F);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t j = 0; j < width; ++j) {
        std::vector<double> products;
        double row_square = 0, query_square = 0, sum = 0;
        for (std::size_t i = 0; i < depth; ++i) {
          const double x = row(r)[i], q = panel[i * width + j];
          products.push_back(x * q);
          sum += x * q;
          row_square += x * x;
          query_square += q * q;
        }
        sums[r * width + j] = sum;
        bounds[r * width + j] = bound_of(products, std::sqrt(row_square * query_square));
      }
    }
  }
  [[nodiscard]] const float* row(std::size_t r) const { return matrix.data() + r * stride; }
  [[nodiscard]] std::string name(const char* kernel) const {
    return kernel + text("rows", rows) + text("depth", depth) + text("width", width);
  }

  std::size_t rows, depth, width, stride;
  std::vector<float> matrix, panel;
  std::vector<double> sums, bounds;
};

// Thresholds among the products: what surely reaches must be hit, what surely does not must not, each at most once.
void check_scan(const KernelTable& table, const Case& data, Report& report) {
  std::vector<float> factors(data.rows), offsets(data.rows), thresholds(data.width);
  Random random(9);
  for (auto& factor : factors) factor = 1.5F + random.signed_unit();
  random.fill(offsets.data(), offsets.size(), 1.0F);
  random.fill(thresholds.data(), thresholds.size(), 3.0F);
  thresholds[0] = std::numeric_limits<float>::quiet_NaN();
  if (data.rows > 1) offsets[1] = std::numeric_limits<float>::quiet_NaN();
  std::vector<PanelHit> hits(data.rows * data.width + 1, PanelHit{77, 77, 0});
  const PanelScan scan{data.matrix.data(),
                       data.stride,
                       data.panel.data(),
                       factors.data(),
                       offsets.data(),
                       thresholds.data(),
                       hits.data(),
                       reinterpret_cast<const char*>(data.matrix.data()),
                       3,
                       static_cast<std::uint32_t>(data.rows),
                       static_cast<std::uint32_t>(data.depth),
                       static_cast<std::uint32_t>(data.width)};
  const std::size_t count = table.scan_panel_f32(scan);
  const std::string where = data.name("scan_panel_f32");
  report.expect(count <= data.rows * data.width && hits.back().row == 77, where + ": wrote behind the hits");
  std::vector<int> seen(data.rows * data.width, 0);
  for (std::size_t h = 0; h < std::min(count, hits.size()); ++h) {
    const std::size_t at = hits[h].row * data.width + hits[h].query;
    report.expect(at < seen.size() && ++seen[at] == 1, where + ": a hit twice or out of range");
    if (at < seen.size()) report.expect_near(hits[h].product, data.sums[at], data.bounds[at], where);
  }
  for (std::size_t at = 0; at < seen.size(); ++at) {
    const double offset = offsets[at / data.width],
                 wanted = factors[at / data.width] * double{thresholds[at % data.width]} + offset;
    const double slack = data.bounds[at] + 1e-6 * (1 + std::fabs(wanted));
    if (std::isnan(wanted)) {
      report.expect(seen[at] == 0, where + ": a hit against NaN");
    } else if (std::fabs(data.sums[at] - wanted) > slack) {
      report.expect((seen[at] != 0) == (data.sums[at] > wanted), where + ": a hit missed or made up");
    }
  }
}

void check_multiply(const KernelTable& table, const Case& data, std::size_t columns, Report& report) {
  std::vector<float> row_factors(data.rows), column_factors(data.width);
  Random random(10);
  random.fill(row_factors.data(), row_factors.size(), 1.0F);
  random.fill(column_factors.data(), column_factors.size(), 1.0F);
  for (const std::uint32_t squared : {0U, 1U, 2U, 3U}) {  // with 2: past the caches
    const bool stream = squared > 1;
    const std::size_t stride = stream ? (columns + 15) / 16 * 16 : columns + 3;
    fastembed::support::AlignedBuffer<float> out(data.rows * stride);
    std::fill_n(out.data(), data.rows * stride, kGuardValue);
    table.multiply_panel_f32({data.matrix.data(), data.stride, data.panel.data(), row_factors.data(),
                              column_factors.data(), out.data(), stride, static_cast<std::uint32_t>(data.rows),
                              static_cast<std::uint32_t>(data.depth), static_cast<std::uint32_t>(data.width),
                              static_cast<std::uint32_t>(columns), squared % 2, stream ? 1U : 0U});
    const std::string where = data.name("multiply_panel_f32") + text("columns", columns) + text("squared", squared);
    for (std::size_t r = 0; r < data.rows; ++r) {
      for (std::size_t j = 0; j < stride; ++j) {
        const double row_factor = row_factors[r], got = out[r * stride + j];
        if (j >= columns) {
          report.expect(out[r * stride + j] == kGuardValue, where + ": wrote beside the columns");
          continue;
        }
        const double column_factor = column_factors[j], sum = data.sums[r * data.width + j];
        const double bound = data.bounds[r * data.width + j];
        const double product = sum * row_factor * column_factor;
        const double distance = std::max(0.0, row_factor + column_factor - 2 * sum);
        report.expect_near(got, squared % 2 != 0 ? distance : product, 2 * bound + 4 * kUnit * (2 + std::fabs(sum)),
                           where);
      }
    }
  }
}

void check_rows(const KernelTable& table, const Case& data, Report& report) {
  std::vector<float> query(data.depth), products(data.rows + 1, kGuardValue), squares = products, alone = products;
  std::vector<float> same = products;
  for (std::size_t i = 0; i < data.depth; ++i) query[i] = data.panel[i * data.width];
  table.scan_rows_f32(data.matrix.data(), data.stride, data.rows, data.depth, query.data(), false, products.data(),
                      squares.data());
  table.scan_rows_f32(data.matrix.data(), data.stride, data.rows, data.depth, query.data(), true, same.data(), nullptr);
  table.squared_norms_f32(data.matrix.data(), data.stride, data.rows, data.depth, alone.data());
  const std::string where = data.name("scan_rows_f32 and squared_norms_f32");
  for (std::size_t r = 0; r < data.rows; ++r) {
    double square = 0;
    for (std::size_t i = 0; i < data.depth; ++i) square += double{data.row(r)[i]} * data.row(r)[i];
    const double bound = bound_of(std::vector<double>(data.depth), square);
    report.expect_near(products[r], data.sums[r * data.width], data.bounds[r * data.width], where);
    report.expect_near(same[r], data.sums[r * data.width], data.bounds[r * data.width], where);
    report.expect_near(squares[r], square, bound, where);
    report.expect_near(alone[r], square, bound, where);
  }
  for (const auto* values : {&products, &squares, &same, &alone}) {
    report.expect(values->back() == kGuardValue, where + ": wrote behind the rows");
  }
}

void check_pack(const KernelTable& table, const Case& data, Report& report) {
  for (const std::size_t count : {std::size_t{1}, data.width - 3, data.width}) {
    if (count > data.rows) continue;
    std::vector<float> factors(count), out(data.depth * data.width + 1, kGuardValue);
    Random(12).fill(factors.data(), count, 2.0F);
    table.pack_panel_f32(data.matrix.data(), data.stride, count, data.depth, factors.data(), data.width, out.data());
    bool same = out.back() == kGuardValue;
    for (std::size_t i = 0; i < data.depth; ++i) {
      for (std::size_t j = 0; j < data.width; ++j) {
        same &= out[i * data.width + j] == (j < count ? data.row(j)[i] * factors[j] : 0.0F);
      }
    }
    report.expect(same, data.name("pack_panel_f32") + text("count", count));
  }
}

double lanes_total(double (&lanes)[16]) {
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lanes[j] = lanes[j] + lanes[j + half];
  }
  return lanes[0];
}

// To the last bit, over values of all magnitudes.
void check_exact(const KernelTable& table, Report& report) {
  Random random(11);
  for (const std::size_t depth : kLengths) {
    for (const std::size_t shift : kMisalignments) {
      std::vector<float> a(depth + 4), b(depth + 4);
      for (auto* values : {&a, &b}) {
        for (float& value : *values) {
          value = std::ldexp(random.signed_unit(), static_cast<int>(random.next() % 240) - 140);
        }
      }
      double dots[16] = {}, squares[16] = {};
      for (std::size_t i = 0; i < depth; ++i) {
        const double x = a[i + shift], y = b[i];
        const double product = x * y, difference = x - y;
        const double square = difference * difference;
        dots[i % 16] += product;
        squares[i % 16] += square;
      }
      const std::string where = text("depth", depth) + text("shift", shift);
      report.expect_near(table.exact_dot_f32(a.data() + shift, b.data(), depth), lanes_total(dots), 0,
                         "exact_dot_f32" + where);
      double square = 0;
      report.expect_near(table.exact_dot_and_square_f32(b.data(), a.data() + shift, depth, &square),
                         table.exact_dot_f32(a.data() + shift, b.data(), depth), 0, "exact_dot_and_square_f32" + where);
      report.expect_near(square, table.exact_dot_f32(a.data() + shift, a.data() + shift, depth), 0,
                         "the square of exact_dot_and_square_f32" + where);
      report.expect_near(table.exact_squared_distance_f32(a.data() + shift, b.data(), depth), lanes_total(squares), 0,
                         "exact_squared_distance_f32" + where);
    }
  }
}

}  // namespace

void check_search(const KernelTable& table, Report& report) {
  std::uint64_t seed = 100;
  for (const std::size_t depth : kLengths) {
    if (depth == 0) continue;
    for (const std::size_t rows : kRowCounts) {
      for (const std::uint32_t width : kWidths) {
        const Case data(rows, depth, width, seed % 4, seed);
        ++seed;
        check_scan(table, data, report);
        check_rows(table, data, report);
        check_pack(table, data, report);
        for (const std::size_t columns : {std::size_t{1}, std::size_t{width} - 5, std::size_t{width}}) {
          check_multiply(table, data, columns, report);
        }
      }
    }
  }
  check_exact(table, report);
  check_row_estimates(table, report);
}

}  // namespace fastembed::check
