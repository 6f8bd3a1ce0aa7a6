// Checks the tile step of a tier against float64 loops over its pairs, within bounds derived from the rounding of its
// operands and sums, for every format of the rows.
#include <cmath>
#include <cstdint>
#include <vector>

#include "tile_matrix.hpp"

namespace fastembed::check {
namespace {

struct Shape {
  std::uint32_t window;
  std::uint32_t negatives;
  std::uint32_t dim;
};
constexpr Shape kShapes[] = {{5, 32, 100},  {1, 16, 7},  {5, 48, 16},   {7, 144, 129},
                             {20, 32, 300}, {9, 64, 45}, {20, 48, 1024}};

// A tile over random words, and what it must do in float64.
struct Case {
  Case(Random& random, const Shape& tile_shape, RowFormat row_format, float scale)
      : shape(tile_shape),
        format(row_format),
        depth((shape.dim + kRowPadding - 1) / kRowPadding * kRowPadding),
        centers(tile_center_rows(shape.window)),
        input(random, shape.dim, depth, format, scale),
        output(random, shape.dim, depth, format, scale),
        padding(depth * 4),
        contexts(centers),
        weights(kTilePositions),
        special(shape.negatives * kTilePositions),
        special_rows(shape.negatives),
        input_scales(random_scales(random, kTilePositions)),
        output_scales(random_scales(random, centers + shape.negatives)) {
    for (std::size_t i = 0; i < kTilePositions; ++i) {
      inputs.push_back(random.next() % kWords);
      weights[i] = static_cast<float>(random.next() % 11) * 0.15625F;
    }
    for (std::size_t j = 0; j < centers; ++j) {
      words.push_back(random.next() % kWords);
      for (std::size_t i = 0; i < kTilePositions; ++i) {
        const std::size_t self = i + shape.window;
        const bool near = j + shape.window >= self && j <= self + shape.window && j != self;
        const bool real = j < kTilePositions + 2 * shape.window && j % 13 != 5;
        if (near && real && random.next() % 4 != 0) contexts[j] |= std::uint64_t{1} << i;
      }
    }
    for (std::size_t k = 0; k < shape.negatives; ++k) {
      words.push_back(random.next() % kWords);
      if (random.next() % 5 != 0) continue;
      for (std::size_t i = 0; i < kTilePositions; ++i) {
        special[k * kTilePositions + i] = weights[i] * static_cast<float>(random.next() % 3) * 0.5F;
      }
      special_rows[k] = special.data() + k * kTilePositions;
    }
  }

  // The rows' way to the kernel; a center without contexts is padding, which must not change.
  void run(const KernelTable& table, float rate, LossSum& loss, float* workspace, std::uint64_t seed,
           void* const* sum_rows = nullptr) {
    std::vector<void*> input_rows, center_rows, negative_rows;
    for (const std::size_t word : inputs) input_rows.push_back(input.row(word));
    for (std::size_t j = 0; j < centers; ++j) {
      center_rows.push_back(contexts[j] == 0 ? padding.data() : output.row(words[j]));
    }
    for (std::size_t k = 0; k < shape.negatives; ++k) negative_rows.push_back(output.row(words[centers + k]));
    table.sgns_tile({.input_rows = input_rows.data(),
                     .center_rows = center_rows.data(),
                     .negative_rows = negative_rows.data(),
                     .center_contexts = contexts.data(),
                     .input_weights = weights.data(),
                     .special_weights = special_rows.data(),
                     .input_scales = input_scales.data(),
                     .center_scales = output_scales.data(),
                     .negative_scales = output_scales.data() + centers,
                     .prefetch_rows = input_rows.data(),
                     .sum_rows = sum_rows,
                     .rounding_seed = seed,
                     .prefetch_count = kTilePositions,
                     .negative_count = shape.negatives,
                     .window = shape.window,
                     .dim = shape.dim,
                     .depth = static_cast<std::uint32_t>(depth),
                     .learning_rate = rate,
                     .row_format = format,
                     .workspace = workspace,
                     .loss = &loss});
  }

  Shape shape;
  RowFormat format;
  std::size_t depth;
  std::size_t centers;
  Matrix input;
  Matrix output;
  AlignedBuffer<unsigned char> padding;
  std::vector<std::size_t> inputs;  // words
  std::vector<std::size_t> words;   // of the centers, then of the negatives
  std::vector<std::uint64_t> contexts;
  std::vector<float> weights;
  std::vector<float> special;
  std::vector<const float*> special_rows;
  std::vector<float> input_scales;
  std::vector<float> output_scales;
};

struct Step {
  Wanted input;
  Wanted output;
  double loss = 0;
  double loss_bound = 0;
};

// `operand` is the relative error of an operand of a product: 2^-8 for bfloat16 (8 bits of significand), else 0.
Step expected(const Case& c, float rate, double operand) {
  const std::size_t dim = c.shape.dim;
  Step step{unchanged(c.input, dim), unchanged(c.output, dim)};
  const double product = 2 * operand + operand * operand;  // of two rounded operands
  const double terms = static_cast<double>(c.words.size() + kTilePositions);
  for (std::size_t i = 0; i < kTilePositions; ++i) {
    for (std::size_t r = 0; r < c.words.size(); ++r) {
      const bool positive = r < c.centers;
      const std::size_t k = r - c.centers;
      double weight = 1;
      if (positive && ((c.contexts[r] >> i) & 1) == 0) continue;
      if (!positive) weight = c.special_rows[k] != nullptr ? c.special_rows[k][i] : c.weights[i];
      double x = 0, magnitude = 0;
      for (std::size_t d = 0; d < dim; ++d) {
        const double term = c.input.get(c.inputs[i], d) * c.output.get(c.words[r], d);
        x += term;
        magnitude += std::fabs(term);
      }
      const double x_error = magnitude * (product + static_cast<double>(dim) * kUnit);
      const double miss = positive ? sigmoid(-x) : -sigmoid(x);
      const double g = rate * weight * miss;
      // The logistic function's slope is at most 1/4; its own error and the two factors' are 8 units.
      const double g_error = rate * weight * (0.25 * x_error) + std::fabs(g) * 8 * kUnit;
      step.loss += weight * softplus(positive ? -x : x);
      step.loss_bound += weight * (x_error + 16 * kUnit * (1 + softplus(positive ? -x : x)));
      for (std::size_t d = 0; d < dim; ++d) {
        const auto add = [&](Wanted& to, std::size_t word, double other, double scale) {
          to.value[word * dim + d] += scale * g * other;
          to.moved[word * dim + d] += scale * std::fabs(g * other);
          to.bound[word * dim + d] +=
              scale * std::fabs(other) * (g_error * (1 + product) + std::fabs(g) * (product + terms * kUnit));
        };
        add(step.input, c.inputs[i], c.output.get(c.words[r], d), c.input_scales[i]);
        add(step.output, c.words[r], c.input.get(c.inputs[i], d), c.output_scales[r]);
      }
    }
  }
  return step;
}

void check_tile(const KernelTable& table, Report& report, bool bfloat16, const Shape& shape, RowFormat format) {
  Random random(shape.window * 1000 + shape.dim);
  const std::size_t depth = (shape.dim + kRowPadding - 1) / kRowPadding * kRowPadding;
  const std::size_t floats = tile_workspace_floats(shape.window, shape.negatives, depth);
  AlignedBuffer<float> workspace(floats + kGuard);
  std::fill(workspace.data() + floats, workspace.data() + floats + kGuard, kGuardValue);
  const auto cell = static_cast<std::size_t>(format);
  const std::string where = "sgns_tile" + text("window", shape.window) + text("negatives", shape.negatives) +
                            text("dim", shape.dim) + text("format", cell);
  // The same workspace serves three tiles: what one leaves must not disturb the next.
  for (const float scale : {0.5F, 0.05F, 0.3F}) {
    Case c(random, shape, format, scale);
    const float rate = 0.025F;
    const Step wanted = expected(c, rate, bfloat16 ? 0x1p-8 : 0.0);
    LossSum loss = empty_loss();
    c.run(table, rate, loss, workspace.data(), random.next());
    drain(loss);
    report.expect_near(loss.total, wanted.loss, wanted.loss_bound, where + " loss");
    compare(format, shape.dim, c.input, wanted.input, c.inputs, report, where + " input");
    compare(format, shape.dim, c.output, wanted.output, c.words, report, where + " output");
    bool clean = true;
    for (const unsigned char byte : std::vector<unsigned char>(c.padding.data(), c.padding.data() + c.padding.size())) {
      clean = clean && byte == 0;
    }
    report.expect(clean, where + ": the padding row has changed");
  }
  for (std::size_t i = 0; i < kGuard; ++i) {
    report.expect(workspace[floats + i] == kGuardValue, where + ": wrote behind the workspace");
  }
}

// The sums of a tile, stored: nothing else changes; added to float32 rows in order they give the bits of the step in
// place, and in float64 what the step must do in whatever format.
void check_stored(const KernelTable& table, Report& report, bool bfloat16, const Shape& shape, RowFormat format) {
  const Random start(shape.window * 1000 + shape.dim + 1);
  const auto fresh = [&] {
    Random random = start;
    return Case(random, shape, format, 0.3F);
  };
  Case c = fresh(), untouched = fresh(), in_place = fresh();
  const float rate = 0.025F;
  const Step wanted = expected(c, rate, bfloat16 ? 0x1p-8 : 0.0);
  const std::size_t slots = kTilePositions + c.words.size();
  const SlotSums sums(slots, c.depth);
  AlignedBuffer<float> workspace(tile_workspace_floats(shape.window, shape.negatives, c.depth));
  LossSum loss = empty_loss(), loss_in_place = empty_loss();
  c.run(table, rate, loss, workspace.data(), 1, sums.rows());
  in_place.run(table, rate, loss_in_place, workspace.data(), 1);
  drain(loss);
  drain(loss_in_place);
  const std::string where = "sgns_tile, stored" + text("window", shape.window) + text("dim", shape.dim) +
                            text("format", static_cast<std::size_t>(format));
  report.expect(loss.total == loss_in_place.total, where + ": another loss");
  report.expect(c.input.same_bytes(untouched.input) && c.output.same_bytes(untouched.output),
                where + ": a row has changed");
  Wanted input(shape.dim), output(shape.dim);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const bool is_input = slot < kTilePositions;
    const std::size_t word = is_input ? c.inputs[slot] : c.words[slot - kTilePositions];
    if (!is_input && slot - kTilePositions < c.centers && c.contexts[slot - kTilePositions] == 0) continue;
    sums.add(slot, word, shape.dim, format, is_input ? input : output, is_input ? untouched.input : untouched.output);
  }
  expect_moved(c.input, input, wanted.input, shape.dim, report, where + " input");
  expect_moved(c.output, output, wanted.output, shape.dim, report, where + " output");
  if (format == RowFormat::kFloat32) {
    report.expect(untouched.input.same_bytes(in_place.input) && untouched.output.same_bytes(in_place.output),
                  where + ": the sums added in order are not the step in place");
  }
  report.expect(sums.guard_is_whole(), where + ": wrote behind the sums");
}

// Rows of every format, each of them several times in the list.
void check_add_rows_of(const KernelTable& table, Report& report, RowFormat format, std::size_t dim) {
  const std::size_t depth = (dim + kRowPadding - 1) / kRowPadding * kRowPadding;
  const std::string where = "add_rows" + text("dim", dim) + text("format", static_cast<std::size_t>(format));
  for (const std::size_t count : {0, 1, 2, 3, 120}) {
    Random random(dim + count), same(dim + count);
    Matrix matrix(random, dim, depth, format, 0.5F), again(same, dim, depth, format, 0.5F);
    AlignedBuffer<float> sums(count * depth);
    std::vector<void*> rows, rows_again;
    std::vector<const float*> addends;
    Wanted wanted(dim);
    for (std::size_t at = 0; at < wanted.value.size(); ++at) wanted.value[at] = matrix.get(at / dim, at % dim);
    std::vector<std::size_t> updates(kWords);
    std::vector<float> exact(wanted.value.begin(), wanted.value.end());
    for (std::size_t n = 0; n < count; ++n) {
      const std::size_t word = random.next() % (kWords - 1);  // the last one stays as it is
      random.fill(sums.data() + n * depth, dim, 0.01F);
      rows.push_back(matrix.row(word));
      rows_again.push_back(again.row(word));
      addends.push_back(sums.data() + n * depth);
      ++updates[word];
      for (std::size_t i = 0; i < dim; ++i) {
        wanted.value[word * dim + i] += static_cast<double>(sums[n * depth + i]);
        exact[word * dim + i] += sums[n * depth + i];
      }
    }
    const auto run = [&](std::vector<void*>& to) {
      table.add_rows({.rows = to.data(),
                      .sums = addends.data(),
                      .rounding_seed = count,
                      .count = count,
                      .depth = static_cast<std::uint32_t>(depth),
                      .row_format = format});
    };
    run(rows);
    run(rows_again);
    report.expect(matrix.same_bytes(again), where + ": the same seed gives other bits");
    report.expect(matrix.padding_is_zero(), where + ": the padding has changed");
    for (std::size_t at = 0; at < wanted.value.size(); ++at) {
      const double got = matrix.get(at / dim, at % dim);
      const double value = wanted.value[at];
      report.expect_near(got, value, storage_error(format, std::fabs(value) + 0.3, updates[at / dim]), where);
      if (format == RowFormat::kFloat32) report.expect(static_cast<float>(got) == exact[at], where + ": not in order");
    }
  }
}

// Stochastic rounding must be right in expectation: the mean of many runs from the same start is the float64 result
// within five standard errors (a rounding's variance is at most a quarter of a squared step).
void check_expectation(const KernelTable& table, Report& report, bool bfloat16, RowFormat format) {
  const Shape shape{2, 16, 48};  // AMX takes 32 columns of bfloat16 rows at once, and the last 16 apart
  constexpr int kRuns = 400;
  AlignedBuffer<float> workspace(tile_workspace_floats(shape.window, shape.negatives, shape.dim));
  std::vector<double> mean(kWords * shape.dim);
  Random seeds(77);
  Wanted wanted(shape.dim);
  for (int run = 0; run < kRuns; ++run) {
    Random random(5);
    Case c(random, shape, format, 0.4F);
    if (run == 0) wanted = expected(c, 1e-3F, bfloat16 ? 0x1p-8 : 0.0).input;
    LossSum loss = empty_loss();
    c.run(table, 1e-3F, loss, workspace.data(), seeds.next());
    for (std::size_t at = 0; at < mean.size(); ++at) mean[at] += c.input.get(at / shape.dim, at % shape.dim) / kRuns;
  }
  for (std::size_t at = 0; at < mean.size(); ++at) {
    const double step = std::ldexp(0.5, format == RowFormat::kBfloat16 ? -7 : -10);
    report.expect_near(mean[at], wanted.value[at], wanted.bound[at] + 5 * step / std::sqrt(kRuns) + 1e-7,
                       "sgns_tile mean of stochastic rounding" + text("at", at));
  }
}

}  // namespace

void check_tiles(const KernelTable& table, Report& report, bool bfloat16) {
  for (const Shape& shape : kShapes) {
    for (const RowFormat format : {RowFormat::kFloat32, RowFormat::kBfloat16, RowFormat::kFloat16}) {
      if (shape.dim > 300 && format != RowFormat::kFloat32) continue;  // rows of other formats differ in no loop
      check_tile(table, report, bfloat16, shape, format);
      check_stored(table, report, bfloat16, shape, format);
    }
  }
  check_expectation(table, report, bfloat16, RowFormat::kBfloat16);
  check_expectation(table, report, bfloat16, RowFormat::kFloat16);
}

void check_add_rows(const KernelTable& table, Report& report) {
  for (const std::size_t dim : {1, 16, 100, 129, 300}) {
    for (const RowFormat format : {RowFormat::kFloat32, RowFormat::kBfloat16, RowFormat::kFloat16}) {
      check_add_rows_of(table, report, format, dim);
    }
  }
}

}  // namespace fastembed::check
