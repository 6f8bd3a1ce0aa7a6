// Compares every kernel of every tier this machine can run with plain float64 loops written here. Needs no Python, so
// that a cross-compiled tier can be checked under an emulator. Prints "N checks passed" or the first failures.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "cpu/dispatch.hpp"
#include "cpu/kernel_table.hpp"
#include "support/aligned_buffer.hpp"

#if defined(FASTEMBED_AMX_EMULATED)
namespace fastembed {
extern const KernelTable kTable_amx_emulated;
}
#endif

namespace {

using namespace fastembed::check;

using fastembed::CbowWindow;
using fastembed::KernelTable;
using fastembed::LossSum;
using fastembed::SgnsWindow;
using fastembed::support::AlignedBuffer;

void check_dot(const KernelTable& table, Report& report) {
  Random random(1);
  for (const std::size_t depth : kLengths) {
    for (const std::size_t shift_a : kMisalignments) {
      for (const std::size_t shift_b : kMisalignments) {
        AlignedBuffer<float> a(depth + 4), b(depth + 4);
        random.fill(a.data(), a.size(), 2.0F);
        random.fill(b.data(), b.size(), 2.0F);
        const float* left = a.data() + shift_a;
        const float* right = b.data() + shift_b;
        double sum = 0, magnitude = 0;
        for (std::size_t i = 0; i < depth; ++i) {
          sum += double{left[i]} * right[i];
          magnitude += std::fabs(double{left[i]} * right[i]);
        }
        const std::string where = "dot_f32" + text("depth", depth) + text("a+", shift_a) + text("b+", shift_b);
        report.expect_near(table.dot_f32(left, right, depth), sum, static_cast<double>(depth) * kUnit * magnitude,
                           where);
        for (float* value = a.data(); value != a.data() + a.size(); ++value) *value = std::round(*value * 8.0F);
        for (float* value = b.data(); value != b.data() + b.size(); ++value) *value = std::round(*value * 8.0F);
        double exact = 0;
        for (std::size_t i = 0; i < depth; ++i) exact += double{left[i]} * right[i];
        report.expect_near(table.dot_f32(left, right, depth), exact, 0, where + " of whole numbers");
      }
    }
  }
}

// A NaN or an infinity anywhere, in a full register or in the tail, must show in the result.
void check_dot_special(const KernelTable& table, Report& report) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const std::size_t depth : kLengths) {
    for (std::size_t at = 0; at < depth; ++at) {
      std::vector<float> a(depth, 1.0F);
      const std::vector<float> ones(depth, 1.0F);
      const std::string where = "dot_f32" + text("depth", depth) + text("special value at", at);
      a[at] = std::numeric_limits<float>::quiet_NaN();
      report.expect(std::isnan(table.dot_f32(a.data(), ones.data(), depth)), where + ": NaN is lost");
      report.expect(std::isnan(table.dot_f32(ones.data(), a.data(), depth)), where + ": NaN on the right is lost");
      a[at] = infinity;
      report.expect(table.dot_f32(a.data(), ones.data(), depth) == infinity, where + ": infinity is lost");
      a[at] = -infinity;
      report.expect(table.dot_f32(a.data(), ones.data(), depth) == -infinity, where + ": -infinity is lost");
    }
  }
}

// Below -87 the smallest values may be replaced by exp(-87), which is 1.6e-38.
double sigmoid_bound(double x) { return x < -87.0 ? 2e-38 : 4.0 * kUnit * sigmoid(x); }

void check_sigmoid(const KernelTable& table, Report& report) {
  Random random(2);
  for (const std::size_t count : kLengths) {
    for (const std::size_t shift : kMisalignments) {
      std::vector<float> x(count + 4), out(count + 8, kGuardValue);
      random.fill(x.data(), x.size(), 20.0F);
      const std::string where = "sigmoid_f32" + text("count", count) + text("x+", shift);
      table.sigmoid_f32(x.data() + shift, count, out.data() + shift);
      std::vector<float> in_place = x;
      table.sigmoid_f32(in_place.data() + shift, count, in_place.data() + shift);
      for (std::size_t i = 0; i < count; ++i) {
        const double value = x[shift + i];
        report.expect_near(out[shift + i], sigmoid(value), sigmoid_bound(value), where);
        report.expect(in_place[shift + i] == out[shift + i], where + ": in place differs");
      }
      report.expect(out[shift + count] == kGuardValue, where + ": wrote behind the end");
      report.expect(shift == 0 || out[shift - 1] == kGuardValue, where + ": wrote before the start");
    }
  }
  std::vector<float> sweep;
  for (float value = -120.0F; value <= 120.0F; value += 0.0078125F) sweep.push_back(value);
  std::vector<float> out(sweep.size());
  table.sigmoid_f32(sweep.data(), sweep.size(), out.data());
  for (std::size_t i = 0; i < sweep.size(); ++i) {
    report.expect_near(out[i], sigmoid(sweep[i]), sigmoid_bound(sweep[i]), "sigmoid_f32 x=" + std::to_string(sweep[i]));
  }
}

#if defined(FASTEMBED_AMX_EMULATED)
// That of the matrix tiles, for gradients that become bfloat16.
void check_rough_sigmoid(const KernelTable& table, Report& report) {
  std::vector<float> sweep{1e30F, -1e30F, HUGE_VALF, -HUGE_VALF, 0.0F, -0.0F};
  for (float value = -100.0F; sweep.size() % 16 != 0 || value <= 100.0F; value += 0.001F) sweep.push_back(value);
  std::vector<float> out(sweep.size());
  table.sigmoid_f32(sweep.data(), sweep.size(), out.data());
  for (std::size_t i = 0; i < sweep.size(); ++i) {
    const double wanted = sigmoid(sweep[i]), size = std::fabs(std::clamp(sweep[i], -100.0F, 100.0F));
    const double bound = std::max((0x1p-18 + size * 0x1.8p-24) * wanted, 2e-38);  // what overflows is about 2^-126
    report.expect_near(out[i], wanted, bound, "rough x=" + std::to_string(sweep[i]));
  }
}
#endif

LossSum empty_loss() {
  LossSum loss{};
  std::fill(std::begin(loss.factor_lanes), std::end(loss.factor_lanes), 1.0F);
  return loss;
}

// Rows of float32 with a guard behind them, and the same in float64 with the error bound of each element.
struct Matrix {
  Matrix(std::size_t rows, std::size_t row_depth, Random& random)
      : depth(row_depth), values(rows * row_depth + kGuard), wanted(rows * row_depth), bound(rows * row_depth, 0.0) {
    random.fill(values.data(), values.size(), 0.5F);
    std::copy_n(values.data(), wanted.size(), wanted.begin());
    std::fill_n(values.data() + wanted.size(), kGuard, kGuardValue);
    before = wanted;
  }
  float* row(std::size_t index) { return values.data() + index * depth; }
  const double* old(std::size_t index) const { return before.data() + index * depth; }

  // row += factor * addend, where the factor is known to within factor_error.
  void add(std::size_t index, double factor, double factor_error, const double* addend, double addend_error) {
    for (std::size_t i = 0; i < depth; ++i) {
      wanted[index * depth + i] += factor * addend[i];
      const double magnitude = std::fabs(factor * addend[i]) + std::fabs(wanted[index * depth + i]);
      bound[index * depth + i] += factor_error * std::fabs(addend[i]) + std::fabs(factor) * addend_error;
      bound[index * depth + i] += 4.0 * kUnit * magnitude;
    }
  }

  void compare(Report& report, const std::string& where) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      report.expect_near(values[i], wanted[i], bound[i], where + text("row", i / depth) + text("column", i % depth));
    }
    const bool whole = std::all_of(values.data() + wanted.size(), values.data() + values.size(),
                                   [](float value) { return value == kGuardValue; });
    report.expect(whole, where + ": wrote behind the rows");
  }

  std::size_t depth;
  AlignedBuffer<float> values;
  std::vector<double> wanted, before, bound;
};

class Workspace {
 public:
  explicit Workspace(std::size_t count) : values_(count + kGuard), count_(count) {
    std::fill_n(values_.data(), values_.size(), kGuardValue);
  }
  float* data() { return values_.data(); }
  void compare(Report& report, const std::string& where) {
    for (std::size_t i = count_; i < values_.size(); ++i) {
      report.expect(values_[i] == kGuardValue, where + ": wrote behind the workspace");
    }
  }

 private:
  AlignedBuffer<float> values_;
  std::size_t count_;
};

// Score, gradient and loss of one pair, with their error bounds.
struct Pair {
  double gradient, gradient_error, loss, loss_error;

  Pair(const double* a, const double* b, std::size_t depth, double relative_error, bool positive, double rate) {
    double score = 0, magnitude = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      score += a[i] * b[i];
      magnitude += std::fabs(a[i] * b[i]);
    }
    const double score_error = (static_cast<double>(depth) * kUnit + relative_error) * magnitude;
    gradient = rate * ((positive ? 1.0 : 0.0) - sigmoid(score));
    gradient_error = rate * (score_error / 4.0 + 8.0 * kUnit);
    loss = softplus(positive ? -score : score);
    loss_error = score_error + 8.0 * kUnit;
  }
};

struct LossCheck {
  double wanted = 0, bound = 0;
  void add(const Pair& pair) {
    wanted += pair.loss;
    bound += pair.loss_error;
  }
  // A lane's sum and product are rounded after each of its at most 100 terms between two folds.
  void compare(const KernelTable& table, LossSum& loss, Report& report, const std::string& where) const {
    table.drain_loss(loss);
    report.expect_near(loss.total, wanted, bound + 100.0 * kUnit * wanted, where + " loss");
    report.expect(loss.factor_count == 0 && loss.linear_lanes[3] == 0.0F && loss.factor_lanes[5] == 1.0F,
                  where + ": drain_loss did not reset the lanes");
  }
};

// What the contract in kernel_table.hpp asks a caller to add to the workspace.
std::size_t gradient_floats(std::size_t contexts, std::size_t targets) {
  return 32 * ((contexts + 1) / 2) * ((targets + 5) / 6);
}

struct Shape {
  std::size_t contexts, targets, depth;
  bool repeats;  // some rows occur twice
  [[nodiscard]] std::string name(const char* kernel) const {
    return kernel + text("contexts", contexts) + text("targets", targets) + text("depth", depth) +
           (repeats ? " with repeated rows" : "");
  }
};

// count row numbers in a matrix of count + 2 rows; with repeats, the last ones name earlier rows again.
std::vector<std::size_t> choose_rows(std::size_t count, bool repeats, Random& random) {
  std::vector<std::size_t> rows(count);
  std::iota(rows.begin(), rows.end(), std::size_t{1});
  std::swap(rows[0], rows[random.next() % count]);
  if (repeats && count >= 2) rows[count - 1] = rows[0];
  if (repeats && count >= 5) rows[count - 2] = rows[1];
  return rows;
}

void check_sgns(const KernelTable& table, Report& report, const Shape& shape, Random& random) {
  Matrix input(shape.contexts + 2, shape.depth, random), output(shape.targets + 2, shape.depth, random);
  const auto contexts = choose_rows(shape.contexts, shape.repeats, random);
  const auto targets = choose_rows(shape.targets, shape.repeats, random);
  std::vector<std::vector<float>> copies(shape.contexts);
  std::vector<const float*> context_values(shape.contexts);
  std::vector<float*> context_rows(shape.contexts), target_rows(shape.targets);
  for (std::size_t c = 0; c < shape.contexts; ++c) {
    context_rows[c] = input.row(contexts[c]);
    context_values[c] = context_rows[c];
    if (std::find(contexts.begin(), contexts.begin() + static_cast<std::ptrdiff_t>(c), contexts[c]) !=
        contexts.begin() + static_cast<std::ptrdiff_t>(c)) {
      copies[c].assign(context_rows[c], context_rows[c] + shape.depth);
      context_values[c] = copies[c].data();
    }
  }
  for (std::size_t t = 0; t < shape.targets; ++t) target_rows[t] = output.row(targets[t]);
  LossCheck expected;
  const float rate = 0.0625F;
  for (std::size_t c = 0; c < shape.contexts; ++c) {
    for (std::size_t t = 0; t < shape.targets; ++t) {
      const Pair pair(input.old(contexts[c]), output.old(targets[t]), shape.depth, 0.0, t == 0, rate);
      input.add(contexts[c], pair.gradient, pair.gradient_error, output.old(targets[t]), 0.0);
      output.add(targets[t], pair.gradient, pair.gradient_error, input.old(contexts[c]), 0.0);
      expected.add(pair);
    }
  }
  std::vector<const float*> prefetch_rows(shape.targets + 1, output.row(shape.targets + 1));
  Workspace workspace((shape.contexts + shape.targets) * shape.depth + gradient_floats(shape.contexts, shape.targets));
  LossSum loss = empty_loss();
  table.sgns_window_f32({context_values.data(), context_rows.data(), target_rows.data(),
                         shape.repeats ? prefetch_rows.data() : nullptr, static_cast<std::uint32_t>(shape.contexts),
                         static_cast<std::uint32_t>(shape.targets), static_cast<std::uint32_t>(shape.depth), rate,
                         workspace.data(), &loss});
  const std::string where = shape.name("sgns_window_f32");
  input.compare(report, where + " input");
  output.compare(report, where + " output");
  workspace.compare(report, where);
  expected.compare(table, loss, report, where);
}

void check_cbow(const KernelTable& table, Report& report, const Shape& shape, Random& random) {
  Matrix input(shape.contexts + 2, shape.depth, random), output(shape.targets + 2, shape.depth, random);
  const auto contexts = choose_rows(shape.contexts, shape.repeats, random);
  const auto targets = choose_rows(shape.targets, shape.repeats, random);
  std::vector<float*> context_rows(shape.contexts), target_rows(shape.targets);
  for (std::size_t c = 0; c < shape.contexts; ++c) context_rows[c] = input.row(contexts[c]);
  for (std::size_t t = 0; t < shape.targets; ++t) target_rows[t] = output.row(targets[t]);
  const float rate = 0.0625F, gradient_scale = 0.75F;
  const float hidden_scale = 1.0F / static_cast<float>(shape.contexts);
  std::vector<double> hidden(shape.depth, 0.0), delta(shape.depth, 0.0);
  for (const std::size_t row : contexts) {
    for (std::size_t i = 0; i < shape.depth; ++i) hidden[i] += input.old(row)[i] * double{hidden_scale};
  }
  // |in| <= 0.5, so a sum of n of them is off by at most n * 2^-24 * 0.5 * n, scaled by 1 / n.
  const double hidden_error = kUnit * (0.5 * static_cast<double>(shape.contexts) + 1.0);
  LossCheck expected;
  double delta_error = 0;
  for (std::size_t t = 0; t < shape.targets; ++t) {
    Pair pair(hidden.data(), output.old(targets[t]), shape.depth, 0.0, t == 0, rate);
    const double carried = hidden_error * 0.5 * static_cast<double>(shape.depth);
    pair.gradient_error += rate * carried / 4.0;
    pair.loss_error += carried;
    output.add(targets[t], pair.gradient, pair.gradient_error, hidden.data(), hidden_error);
    for (std::size_t i = 0; i < shape.depth; ++i) delta[i] += pair.gradient * output.old(targets[t])[i];
    delta_error +=
        0.5 * (pair.gradient_error + static_cast<double>(shape.targets + 2) * kUnit * std::fabs(pair.gradient));
    expected.add(pair);
  }
  for (const std::size_t row : contexts) {
    input.add(row, double{gradient_scale}, kUnit * gradient_scale, delta.data(), delta_error);
  }
  Workspace workspace((shape.targets + 2) * shape.depth + gradient_floats(1, shape.targets));
  LossSum loss = empty_loss();
  table.cbow_window_f32({context_rows.data(), target_rows.data(), nullptr, static_cast<std::uint32_t>(shape.contexts),
                         static_cast<std::uint32_t>(shape.targets), static_cast<std::uint32_t>(shape.depth), rate,
                         hidden_scale, gradient_scale, workspace.data(), &loss});
  const std::string where = shape.name("cbow_window_f32");
  input.compare(report, where + " input");
  output.compare(report, where + " output");
  workspace.compare(report, where);
  expected.compare(table, loss, report, where);
}

// The pairs of one center against the same steps in float64, one after the other. An error of a step reaches the later
// ones with a small factor, hence twice the sum of the steps' own.
void check_pairs(const KernelTable& table, Report& report, std::size_t pairs, std::size_t negatives, std::size_t depth,
                 Random& random) {
  const std::size_t words = negatives + 3, center = 1;
  Matrix input(4, depth, random), output(words, depth, random);
  std::vector<std::int32_t> drawn((pairs + fastembed::kPairLookahead) * negatives);
  for (auto& word : drawn) word = static_cast<std::int32_t>(random.next() % words);
  for (std::size_t n = 0; n < negatives; ++n) drawn[n] = static_cast<std::int32_t>(2 + n);  // one pair without repeats
  std::vector<float*> context_rows(pairs), target_rows(negatives + 1);
  const float rate = 0.0625F;
  LossCheck expected;
  double error = 0;
  for (std::size_t p = 0; p < pairs; ++p) {
    const std::size_t context = random.next() % 4;
    context_rows[p] = input.row(context);
    std::vector<std::size_t> targets{center};
    for (std::size_t n = 0; n < negatives; ++n) {
      const auto word = static_cast<std::size_t>(drawn[p * negatives + n]);
      if (word != center) targets.push_back(word);
    }
    input.before = input.wanted;
    output.before = output.wanted;
    for (std::size_t t = 0; t < targets.size(); ++t) {
      const Pair pair(input.old(context), output.old(targets[t]), depth, 0.0, t == 0, rate);
      input.add(context, pair.gradient, 0.0, output.old(targets[t]), 0.0);
      output.add(targets[t], pair.gradient, 0.0, input.old(context), 0.0);
      expected.add(pair);
      expected.bound += static_cast<double>(depth) * error;
      error += 2.0 * (pair.gradient_error + 4.0 * kUnit);
    }
  }
  for (Matrix* matrix : {&input, &output}) std::fill(matrix->bound.begin(), matrix->bound.end(), error);
  Workspace workspace((negatives + 2) * depth + gradient_floats(1, negatives + 1));
  LossSum loss = empty_loss();
  table.sgns_pairs_f32({context_rows.data(), output.row(0), drawn.data(), target_rows.data(),
                        static_cast<std::int32_t>(center), static_cast<std::uint32_t>(pairs),
                        static_cast<std::uint32_t>(negatives), static_cast<std::uint32_t>(depth), rate,
                        workspace.data(), &loss});
  const std::string where = Shape{pairs, negatives + 1, depth, true}.name("sgns_pairs_f32");
  input.compare(report, where + " input");
  output.compare(report, where + " output");
  workspace.compare(report, where);
  expected.compare(table, loss, report, where);
}

void check_windows(const KernelTable& table, Report& report) {
  Random random(3);
  for (const std::size_t contexts : kContextCounts) {
    for (const std::size_t targets : kTargetCounts) {
      for (const std::size_t depth : kDepths) {
        for (const bool repeats : {false, true}) {
          if (contexts * targets * depth > 100'000 && repeats) continue;  // spares emulators the slowest
          check_sgns(table, report, {contexts, targets, depth, repeats}, random);
          check_cbow(table, report, {contexts, targets, depth, repeats}, random);
        }
        if (contexts <= 10 && targets >= 2) check_pairs(table, report, contexts, targets - 1, depth, random);
      }
    }
  }
}

// Many steps into one LossSum without draining: no lane may overflow and none of the terms may get lost.
void check_long_loss(const KernelTable& table, Report& report) {
  constexpr std::size_t kDepth = 16, kTargets = 6;
  constexpr int kSteps = 1000;
  AlignedBuffer<float> context(kDepth), targets(kTargets * kDepth);
  float* context_row = context.data();
  const float* context_value = context.data();
  std::vector<float*> target_rows(kTargets);
  for (std::size_t t = 0; t < kTargets; ++t) target_rows[t] = targets.data() + t * kDepth;
  Workspace workspace((1 + kTargets) * kDepth + gradient_floats(1, kTargets));
  LossSum loss = empty_loss();
  for (int step = 0; step < kSteps; ++step) {
    table.sgns_window_f32({&context_value, &context_row, target_rows.data(), nullptr, 1, kTargets, kDepth, 0.025F,
                           workspace.data(), &loss});
  }
  LossCheck expected;  // every row is zero and stays zero, so that every term is log(2)
  expected.wanted = kSteps * kTargets * std::log(2.0);
  expected.compare(table, loss, report, "1000 steps");
}

// With factor and term 1, chain c ends at c + rounds in every lane; the returned count tells the lanes.
void check_fma_peak(const KernelTable& table, Report& report) {
  for (const std::size_t rounds : {1, 2, 7, 100}) {
    float sink[2] = {1.0F, 1.0F};
    const double operations = table.fma_peak_f32(rounds, sink);
    const double lanes = operations / (24.0 * static_cast<double>(rounds));
    report.expect(lanes == 1 || lanes == 4 || lanes == 8 || lanes == 16, "fma_peak_f32: wrong count of operations");
    report.expect_near(sink[0], lanes * (66.0 + 12.0 * static_cast<double>(rounds)), 0, "fma_peak_f32");
  }
}

// Which kernels are checked above; one that is added to the table must be added here, with its check.
void check_that_all_are_checked(Report& report) {
  const std::string checked =
      " dot_f32 sigmoid_f32 sgns_window_f32 sgns_pairs_f32 cbow_window_f32 drain_loss fma_peak_f32"
      " token_edges_u8 sgns_tile cbow_tile add_rows scan_panel_f32 multiply_panel_f32 pack_panel_f32"
      " exact_dot_and_square_f32 scan_rows_f32 squared_norms_f32 exact_dot_f32 exact_squared_distance_f32"
      " kth_greatest_f32 estimate_rows_f32 rows_at_least_f32 widen_rows scan_narrow_rows turn_columns_f32"
      " code_rows_u8 refined_product code_query_limit pack_code_panel scan_codes greatest_codes scan_code_rows"
      " reached_code_rows reached_bf16_rows code_rows_bf16 bf16_query_bits pack_bf16_panel scan_bf16_codes "
      "greatest_bf16_codes scan_bf16_rows pack_coarse_query scan_coarse_rows scan_medium_codes"
      " draw_tokens draw_aliases code_peak prefers_split pack_split multiply_split ";
#define FASTEMBED_IS_CHECKED(kernel, result, parameters) \
  report.expect(checked.find(" " #kernel " ") != std::string::npos, #kernel " has no check");
  FASTEMBED_KERNELS(FASTEMBED_IS_CHECKED)
#undef FASTEMBED_IS_CHECKED
}

}  // namespace

// Arguments: the tiers to check; none: all that this machine runs.
int main(int argc, char** argv) {
  const std::vector<std::string> wanted(argv + 1, argv + argc);
  long passed = 0, failed = 0;
  const auto print = [&](const Report& report) {
    std::printf("%s: %ld checks passed, %ld failed\n", report.tier.c_str(), report.passed, report.failed);
    passed += report.passed;
    failed += report.failed;
  };
  const std::vector<std::string> names = fastembed::cpu::available_isas();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& name = names[i];
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    const KernelTable& table = fastembed::cpu::kernels_of(name);
    Report report{name};
    // Some tiers override a few kernels of the next below, where the others are checked.
    const KernelTable* const below = i + 1 == names.size() ? nullptr : &fastembed::cpu::kernels_of(names[i + 1]);
    const auto has_own = [&](auto kernel) { return below == nullptr || table.*kernel != below->*kernel; };
    if (has_own(&KernelTable::dot_f32)) {
      check_dot(table, report);
      check_dot_special(table, report);
      check_sigmoid(table, report);
      check_windows(table, report);
      check_long_loss(table, report);
      check_fma_peak(table, report);
      check_token_edges(table, report);
      check_add_rows(table, report);
      check_search(table, report);
      check_stored_rows(table, report);
      check_reached_rows(table, report);
    }
    if (has_own(&KernelTable::draw_tokens)) check_draws(table, report);
    report.expect(table.prefers_split() == (name == "amx"), "prefers_split");
    if (has_own(&KernelTable::multiply_split)) check_split(table, report);
    if (has_own(&KernelTable::scan_codes)) check_codes(table, report);
    if (has_own(&KernelTable::refined_product)) check_residuals(table, report);
    if (has_own(&KernelTable::scan_coarse_rows)) check_coarse_scans(table, report);
    if (has_own(&KernelTable::scan_medium_codes)) check_medium_scans(table, report);
    if (has_own(&KernelTable::scan_bf16_codes)) check_bf16_codes(table, report);
    const bool bfloat16 = name == "avx512bf16" || name == "amx";
    if (has_own(&KernelTable::sgns_tile)) check_tiles(table, report, bfloat16);
    if (has_own(&KernelTable::cbow_tile)) check_cbow_tiles(table, report, name == "avx512bf16");
    check_that_all_are_checked(report);
    print(report);
#if defined(FASTEMBED_AMX_EMULATED)
    if (name == "avx512bf16") {
      Report emulated{"amx, emulated"};
      check_rough_sigmoid(fastembed::kTable_amx_emulated, emulated);
      check_tiles(fastembed::kTable_amx_emulated, emulated, true);
      check_code_products(fastembed::kTable_amx_emulated, emulated);
      check_medium_scans(fastembed::kTable_amx_emulated, emulated);
      check_split(fastembed::kTable_amx_emulated, emulated);
      check_bf16_scans(fastembed::kTable_amx_emulated, emulated);
      print(emulated);
    }
#endif
  }
  std::printf("%ld checks passed\n", passed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
