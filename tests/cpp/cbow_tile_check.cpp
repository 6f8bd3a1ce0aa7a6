// Checks the CBOW tile step of a tier against float64 loops, within bounds derived from the rounding of its operands.
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
  bool scaled = true;  // whether the step is told of scales other than that of the means
};
constexpr Shape kShapes[] = {{5, 32, 100}, {5, 32, 100, false}, {1, 32, 7},           {20, 48, 300},
                             {8, 144, 33}, {20, 16, 1024},      {12, 256, 64, false}, {40, 32, 48}};
constexpr float kNegativeWeight = 0.3125F;

struct Case {
  Case(Random& random, const Shape& tile_shape, RowFormat row_format)
      : shape(tile_shape),
        format(row_format),
        depth((shape.dim + kRowPadding - 1) / kRowPadding * kRowPadding),
        input(random, shape.dim, depth, format, 0.4F),
        output(random, shape.dim, depth, format, 0.4F),
        padding(depth * 4),
        centers_of(kTilePositions + 2 * std::size_t{shape.window}),
        negative_centers(shape.negatives),
        context_scales(random_scales(random, centers_of.size())),
        output_scales(random_scales(random, kTilePositions + shape.negatives)) {
    if (!shape.scaled) {
      std::fill(context_scales.begin(), context_scales.end(), 1.0F);
      std::fill(output_scales.begin(), output_scales.end(), 1.0F);
    }
    for (std::size_t c = 0; c < centers_of.size(); ++c) contexts.push_back(random.next() % kWords);
    for (std::size_t r = 0; r < kTilePositions + shape.negatives; ++r) words.push_back(random.next() % kWords);
    for (std::size_t j = 0; j < kTilePositions; ++j) add_center(random, j);
    for (std::size_t k = 0; k < shape.negatives; ++k) {
      const std::size_t group = k / (shape.negatives / kCbowGroups);
      for (std::size_t j = group; j < kTilePositions; j += kCbowGroups) {
        const bool counts = begin[j] != end[j] && random.next() % 7 != 0;
        negative_centers[k] |= static_cast<std::uint64_t>(counts) << j;
      }
    }
  }

  void add_center(Random& random, std::size_t j) {
    const std::size_t self = j + shape.window;
    const bool real = j % 11 != 7;
    const auto low = static_cast<std::uint32_t>(self - (1 + random.next() % shape.window));
    const auto high = static_cast<std::uint32_t>(self + 1 + random.next() % shape.window);
    begin.push_back(real ? low : 0);
    end.push_back(real ? high + 1 : 0);
    const double count = real ? high - low : 0;
    centers |= static_cast<std::uint64_t>(real) << j;
    hidden_scale.push_back(real ? static_cast<float>(1 / count) : 0.0F);
    const float scale = shape.scaled ? 0.5F + 0.125F * static_cast<float>(random.next() % 4) : 1.0F;
    gradient_scale.push_back(real ? scale : 0.0F);
    for (std::uint32_t c = begin[j]; c < end[j]; ++c) {
      if (c != self) centers_of[c] |= std::uint64_t{1} << j;
    }
  }

  void run(const KernelTable& table, float rate, LossSum& loss, float* workspace, void* const* sum_rows = nullptr) {
    std::vector<void*> context_rows, center_rows, negative_rows;
    for (const std::size_t word : contexts) context_rows.push_back(input.row(word));
    for (std::size_t j = 0; j < kTilePositions; ++j) {
      center_rows.push_back(begin[j] == end[j] ? padding.data() : output.row(words[j]));
    }
    for (std::size_t k = 0; k < shape.negatives; ++k) negative_rows.push_back(output.row(words[kTilePositions + k]));
    table.cbow_tile({.context_rows = context_rows.data(),
                     .center_rows = center_rows.data(),
                     .negative_rows = negative_rows.data(),
                     .context_begin = begin.data(),
                     .context_end = end.data(),
                     .context_centers = centers_of.data(),
                     .hidden_scale = hidden_scale.data(),
                     .gradient_scale = shape.scaled ? gradient_scale.data() : nullptr,
                     .negative_centers = negative_centers.data(),
                     .context_scales = shape.scaled ? context_scales.data() : nullptr,
                     .center_scales = shape.scaled ? output_scales.data() : nullptr,
                     .negative_scales = shape.scaled ? output_scales.data() + kTilePositions : nullptr,
                     .prefetch_rows = context_rows.data(),
                     .sum_rows = sum_rows,
                     .rounding_seed = 5,
                     .centers = centers,
                     .prefetch_count = static_cast<std::uint32_t>(context_rows.size()),
                     .negative_count = shape.negatives,
                     .window = shape.window,
                     .dim = shape.dim,
                     .depth = static_cast<std::uint32_t>(depth),
                     .learning_rate = rate,
                     .negative_weight = kNegativeWeight,
                     .row_format = format,
                     .workspace = workspace,
                     .loss = &loss});
  }

  Shape shape;
  RowFormat format;
  std::size_t depth;
  Matrix input;
  Matrix output;
  AlignedBuffer<unsigned char> padding;
  std::vector<std::size_t> contexts;  // words
  std::vector<std::size_t> words;     // of the centers, then of the negatives
  std::vector<std::uint32_t> begin;
  std::vector<std::uint32_t> end;
  std::vector<std::uint64_t> centers_of;
  std::vector<float> hidden_scale;
  std::vector<float> gradient_scale;
  std::uint64_t centers = 0;
  std::vector<std::uint64_t> negative_centers;
  std::vector<float> context_scales;
  std::vector<float> output_scales;
};

struct Step {
  Wanted input;
  Wanted output;
  double loss = 0;
  double loss_bound = 0;
  std::vector<double> errors{};  // by column, the sum of their magnitudes over the centers
};

// One center: `operand` is the relative error of an operand of a negative's product; the center's own is float32.
void add_center(const Case& c, std::size_t j, float rate, double operand, Step& step) {
  const std::size_t dim = c.shape.dim;
  const double terms = 4.0 * static_cast<double>(c.words.size() + c.contexts.size());
  std::vector<double> mean(dim), size(dim), rounded(dim), error(dim), error_bound(dim);
  // A window's sum may be the difference of sums over the whole tile.
  for (const std::size_t word : c.contexts) {
    for (std::size_t d = 0; d < dim; ++d) rounded[d] += c.hidden_scale[j] * std::fabs(c.input.get(word, d));
  }
  for (std::uint32_t i = c.begin[j]; i < c.end[j]; ++i) {
    if (i == j + c.shape.window) continue;
    for (std::size_t d = 0; d < dim; ++d) {
      mean[d] += c.hidden_scale[j] * c.input.get(c.contexts[i], d);
      size[d] += c.hidden_scale[j] * std::fabs(c.input.get(c.contexts[i], d));
    }
  }
  for (std::size_t r = 0; r < c.words.size(); ++r) {
    const bool own = r < kTilePositions;
    if (own && r != j) continue;
    const std::size_t k = r - kTilePositions;
    if (!own && (c.negative_centers[k] >> j & 1) == 0) continue;
    const double weight = own ? 1 : static_cast<double>(kNegativeWeight);
    const double product = own ? 0 : 2 * operand + operand * operand;
    double x = 0, magnitude = 0, rounding = 0;
    for (std::size_t d = 0; d < dim; ++d) {
      x += mean[d] * c.output.get(c.words[r], d);
      magnitude += size[d] * std::fabs(c.output.get(c.words[r], d));
      rounding += rounded[d] * std::fabs(c.output.get(c.words[r], d));
    }
    const double x_error = magnitude * product + rounding * (static_cast<double>(dim) + terms) * kUnit;
    const double g = rate * weight * (own ? sigmoid(-x) : -sigmoid(x));
    const double g_error = rate * weight * 0.25 * x_error + std::fabs(g) * 8 * kUnit;
    step.loss += weight * softplus(own ? -x : x);
    step.loss_bound += weight * (x_error + 16 * kUnit * (1 + softplus(own ? -x : x)));
    for (std::size_t d = 0; d < dim; ++d) {
      const double other = c.output.get(c.words[r], d);
      error[d] += g * other;
      error_bound[d] += std::fabs(other) * (g_error * (1 + product) + std::fabs(g) * (product + terms * kUnit));
      const std::size_t at = c.words[r] * dim + d;
      const double scale = c.output_scales[r];
      step.output.value[at] += scale * g * mean[d];
      step.output.moved[at] += scale * std::fabs(g) * size[d];
      step.output.bound[at] += scale * (size[d] * (g_error * (1 + product) + std::fabs(g) * product) +
                                        std::fabs(g) * rounded[d] * terms * kUnit);
    }
  }
  for (std::uint32_t i = c.begin[j]; i < c.end[j]; ++i) {
    if (i == j + c.shape.window) continue;
    const double scale = static_cast<double>(c.gradient_scale[j]) * c.context_scales[i];
    for (std::size_t d = 0; d < dim; ++d) {
      const std::size_t at = c.contexts[i] * dim + d;
      step.input.value[at] += scale * error[d];
      step.input.moved[at] += scale * (std::fabs(error[d]) + error_bound[d]);
      step.input.bound[at] += scale * error_bound[d];
    }
  }
  step.errors.resize(dim);
  for (std::size_t d = 0; d < dim; ++d) step.errors[d] += c.gradient_scale[j] * (std::fabs(error[d]) + error_bound[d]);
}

// A context's sum may be what is left of a sum over all centers.
void add_rounding(const Case& c, Step& step) {
  const double terms = 4.0 * static_cast<double>(c.words.size() + c.contexts.size());
  for (std::size_t i = 0; i < c.contexts.size(); ++i) {
    for (std::size_t d = 0; d < c.shape.dim; ++d) {
      step.input.bound[c.contexts[i] * c.shape.dim + d] += c.context_scales[i] * step.errors[d] * terms * kUnit;
    }
  }
}

Step wanted_step(const Case& c, bool bfloat16) {
  Step step{unchanged(c.input, c.shape.dim), unchanged(c.output, c.shape.dim)};
  for (std::size_t j = 0; j < kTilePositions; ++j) {
    if (c.begin[j] < c.end[j]) add_center(c, j, 0.05F, bfloat16 ? 0x1p-8 : 0.0, step);
  }
  add_rounding(c, step);
  return step;
}

// The sums of a tile, stored: nothing else changes; added to float32 rows in order they give the bits of the step in
// place, and in float64 what the step must do in whatever format.
void check_stored(const KernelTable& table, Report& report, bool bfloat16, const Shape& shape, RowFormat format) {
  const Random start(shape.window * 1000 + shape.dim + 1);
  const auto fresh = [&] {
    Random random = start;
    return Case(random, shape, format);
  };
  Case c = fresh(), untouched = fresh(), in_place = fresh();
  const Step wanted = wanted_step(c, bfloat16);
  const std::size_t slots = c.contexts.size() + c.words.size();
  const SlotSums sums(slots, c.depth);
  AlignedBuffer<float> workspace(cbow_workspace_floats(shape.window, shape.negatives, c.depth));
  LossSum loss = empty_loss(), loss_in_place = empty_loss();
  c.run(table, 0.05F, loss, workspace.data(), sums.rows());
  in_place.run(table, 0.05F, loss_in_place, workspace.data());
  drain(loss);
  drain(loss_in_place);
  const std::string where = "cbow_tile, stored" + text("window", shape.window) + text("dim", shape.dim) +
                            text("format", static_cast<std::size_t>(format));
  report.expect(loss.total == loss_in_place.total, where + ": another loss");
  report.expect(c.input.same_bytes(untouched.input) && c.output.same_bytes(untouched.output),
                where + ": a row has changed");
  Wanted input(shape.dim), output(shape.dim);
  const auto add_slot = [&](std::size_t slot, std::size_t word, Wanted& moves, Matrix& rows) {
    sums.add(slot, word, shape.dim, format, moves, rows);
  };
  std::size_t slot = 0;
  for (std::size_t i = 0; i < c.contexts.size(); ++i, ++slot) {
    if (c.centers_of[i] != 0) add_slot(slot, c.contexts[i], input, untouched.input);
  }
  for (std::size_t k = 0; k < shape.negatives; ++k, ++slot) {
    add_slot(slot, c.words[kTilePositions + k], output, untouched.output);
  }
  for (std::size_t j = 0; j < kTilePositions; ++j, ++slot) {
    if (c.begin[j] < c.end[j]) add_slot(slot, c.words[j], output, untouched.output);
  }
  expect_moved(c.input, input, wanted.input, shape.dim, report, where + " input");
  expect_moved(c.output, output, wanted.output, shape.dim, report, where + " output");
  if (format == RowFormat::kFloat32) {
    report.expect(untouched.input.same_bytes(in_place.input) && untouched.output.same_bytes(in_place.output),
                  where + ": the sums added in order are not the step in place");
  }
  report.expect(sums.guard_is_whole(), where + ": wrote behind the sums");
}

}  // namespace

void check_cbow_tiles(const KernelTable& table, Report& report, bool bfloat16) {
  for (const Shape& shape : kShapes) {
    for (const RowFormat format : {RowFormat::kFloat32, RowFormat::kBfloat16, RowFormat::kFloat16}) {
      if (shape.dim > 300 && format != RowFormat::kFloat32) continue;  // rows of other formats differ in no loop
      check_stored(table, report, bfloat16, shape, format);
      Random random(shape.window * 1000 + shape.dim);
      const std::size_t depth = (shape.dim + kRowPadding - 1) / kRowPadding * kRowPadding;
      const std::size_t floats = cbow_workspace_floats(shape.window, shape.negatives, depth);
      AlignedBuffer<float> workspace(floats + kGuard);
      std::fill(workspace.data() + floats, workspace.data() + floats + kGuard, kGuardValue);
      const std::string where = "cbow_tile" + text("window", shape.window) + text("negatives", shape.negatives) +
                                text("dim", shape.dim) + text("format", static_cast<std::size_t>(format));
      for (int turn = 0; turn < 2; ++turn) {
        Case c(random, shape, format);
        const Step wanted = wanted_step(c, bfloat16);
        LossSum loss = empty_loss();
        c.run(table, 0.05F, loss, workspace.data());
        drain(loss);
        report.expect_near(loss.total, wanted.loss, wanted.loss_bound, where + " loss");
        compare(format, shape.dim, c.input, wanted.input, c.contexts, report, where + " input");
        compare(format, shape.dim, c.output, wanted.output, c.words, report, where + " output");
        bool clean = true;
        for (std::size_t i = 0; i < c.padding.size(); ++i) clean = clean && c.padding[i] == 0;
        report.expect(clean, where + ": the padding row has changed");
      }
      for (std::size_t i = 0; i < kGuard; ++i) {
        report.expect(workspace[floats + i] == kGuardValue, where + ": wrote behind the workspace");
      }
    }
  }
}

}  // namespace fastembed::check
