// The logistic function and its negative log-likelihood, without tables or clipping.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// exp(x) for x <= 0: 2^n * p(r) with |r| <= ln(2) / 2, Taylor to degree 7 (relative error below 2^-24 before
// rounding). Arguments below -87 give exp(-87) = 1.6e-38, which every caller adds to 1.
inline Vec::Reg exp_non_positive(Vec::Reg x) noexcept {
  x = Vec::max(x, Vec::broadcast(-87.0F));
  const Vec::Reg n = Vec::round(Vec::mul(x, Vec::broadcast(1.44269504F)));
  Vec::Reg r = Vec::fma(n, Vec::broadcast(-0.693359375F), x);
  r = Vec::fma(n, Vec::broadcast(2.12194440e-4F), r);
  Vec::Reg p = Vec::broadcast(1.0F / 5040.0F);
  p = Vec::fma(p, r, Vec::broadcast(1.0F / 720.0F));
  p = Vec::fma(p, r, Vec::broadcast(1.0F / 120.0F));
  p = Vec::fma(p, r, Vec::broadcast(1.0F / 24.0F));
  p = Vec::fma(p, r, Vec::broadcast(1.0F / 6.0F));
  p = Vec::fma(p, r, Vec::broadcast(0.5F));
  p = Vec::fma(p, r, Vec::broadcast(1.0F));
  p = Vec::fma(p, r, Vec::broadcast(1.0F));
  return Vec::mul(p, Vec::power_of_two(n));
}

// With e = exp(-|x|): sigmoid is 1 / (1 + e) for x >= 0 and e / (1 + e) below, so nothing cancels or overflows.
inline Vec::Reg sigmoid(Vec::Reg x, Vec::Reg& one_plus_e) noexcept {
  const Vec::Reg e = exp_non_positive(Vec::negative_abs(x));
  one_plus_e = Vec::add(e, Vec::broadcast(1.0F));
  return Vec::div(Vec::select_non_negative(x, Vec::broadcast(1.0F), e), one_plus_e);
}

void sigmoid_f32(const float* x, std::size_t count, float* out) noexcept {
  Vec::Reg one_plus_e;
  std::size_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) Vec::store(out + i, sigmoid(Vec::load(x + i), one_plus_e));
  if (i < count) {
    float lanes[Vec::kLanes] = {};
    for (std::size_t j = i; j < count; ++j) lanes[j - i] = x[j];
    Vec::store(lanes, sigmoid(Vec::load(lanes), one_plus_e));
    for (std::size_t j = i; j < count; ++j) out[j] = lanes[j - i];
  }
}

// 100 factors of at most 2 stay below the largest float, 2^128.
constexpr std::uint32_t kFactorsPerFold = 100;

void drain_loss(LossSum& loss) noexcept {
  for (int lane = 0; lane < 16; ++lane) {
    loss.total += static_cast<double>(loss.linear_lanes[lane]) + __builtin_log(static_cast<double>(loss.factor_lanes[lane]));
    loss.linear_lanes[lane] = 0.0F;
    loss.factor_lanes[lane] = 1.0F;
  }
  loss.factor_count = 0;
}

// In: scores[i] = x, signs[i] = -1 for a positive pair and +1 for a negative. Out: scores[i] = the gradient
// learning_rate * (label - sigmoid(x)), which is -sign * learning_rate * sigmoid(sign * x); the pair's negative
// log-likelihood is softplus(sign * x). `scores` and `signs` extend to a
// multiple of kLanes, where the signs are +1.
inline void scores_to_gradients(float* scores, const float* signs, std::size_t count, float learning_rate,
                                LossSum& loss) noexcept {
  using Reg = Vec::Reg;
  for (std::size_t i = count; i % Vec::kLanes != 0; ++i) scores[i] = -100.0F;  // with sign +1: adds exactly 0
  const Reg minus_rate = Vec::broadcast(-learning_rate);
  Reg linear = Vec::load(loss.linear_lanes);
  Reg factors = Vec::load(loss.factor_lanes);
  for (std::size_t i = 0; i < count; i += Vec::kLanes) {
    const Reg sign = Vec::load(signs + i);
    const Reg z = Vec::mul(sign, Vec::load(scores + i));
    Reg one_plus_e;
    const Reg probability = sigmoid(z, one_plus_e);
    Vec::store(scores + i, Vec::mul(Vec::mul(sign, minus_rate), probability));
    linear = Vec::add(linear, Vec::max(z, Vec::zero()));
    factors = Vec::mul(factors, one_plus_e);
    if (++loss.factor_count >= kFactorsPerFold) {
      Vec::store(loss.linear_lanes, linear);
      Vec::store(loss.factor_lanes, factors);
      drain_loss(loss);
      linear = Vec::load(loss.linear_lanes);
      factors = Vec::load(loss.factor_lanes);
    }
  }
  Vec::store(loss.linear_lanes, linear);
  Vec::store(loss.factor_lanes, factors);
}

}  // namespace
}  // namespace fastembed
