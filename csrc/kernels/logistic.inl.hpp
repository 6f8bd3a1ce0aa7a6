// The logistic function and its negative log-likelihood, without tables or clipping.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// exp(x) for x <= 0: 2^n * p(r) with |r| <= ln(2) / 2, Taylor to degree 7 (relative error below 2^-24 before
// rounding) by Estrin's scheme, whose chain of dependent operations is half of Horner's. Arguments below -87 give
// exp(-87) = 1.6e-38, which every caller adds to 1.
[[gnu::always_inline]] inline Vec::Reg exp_non_positive(Vec::Reg x) noexcept {
  using Reg = Vec::Reg;
  x = Vec::max(x, Vec::broadcast(-87.0F));
  const Reg n = Vec::round(Vec::mul(x, Vec::broadcast(1.44269504F)));
  Reg r = Vec::fma(n, Vec::broadcast(-0.693359375F), x);
  r = Vec::fma(n, Vec::broadcast(2.12194440e-4F), r);
  const Reg r2 = Vec::mul(r, r);
  const Reg p01 = Vec::add(r, Vec::broadcast(1.0F));
  const Reg p23 = Vec::fma(r, Vec::broadcast(1.0F / 6.0F), Vec::broadcast(0.5F));
  const Reg p45 = Vec::fma(r, Vec::broadcast(1.0F / 120.0F), Vec::broadcast(1.0F / 24.0F));
  const Reg p67 = Vec::fma(r, Vec::broadcast(1.0F / 5040.0F), Vec::broadcast(1.0F / 720.0F));
  const Reg p = Vec::fma(Vec::mul(r2, r2), Vec::fma(r2, p67, p45), Vec::fma(r2, p23, p01));
  return Vec::mul(p, Vec::power_of_two(n));
}

// With e = exp(-|x|): sigmoid is 1 / (1 + e) for x >= 0 and e / (1 + e) below, so nothing cancels or overflows.
[[gnu::always_inline]] inline Vec::Reg sigmoid(Vec::Reg x, Vec::Reg& one_plus_e) noexcept {
  const Vec::Reg e = exp_non_positive(Vec::negative_abs(x));
  one_plus_e = Vec::add(e, Vec::broadcast(1.0F));
  return Vec::div(Vec::select_non_negative(x, Vec::broadcast(1.0F), e), one_plus_e);
}

// The same for gradients and losses, in half the operations: 2^f of degree 5 (minimax on |f| <= 1/2, relative error
// 2^-23.7) and a quotient within 2 ulps. Relative error below 2^-21 + |x| 2^-24.
[[gnu::always_inline]] inline Vec::Reg quick_sigmoid(Vec::Reg x, Vec::Reg& one_plus_e) noexcept {
  using Reg = Vec::Reg;
  const Reg log2_e = Vec::broadcast(1.44269504F), one = Vec::broadcast(1.0F);
  const Reg a = Vec::max(Vec::negative_abs(x), Vec::broadcast(-87.0F));
  const Reg n = Vec::round(Vec::mul(a, log2_e));
  const Reg f = Vec::fms(a, log2_e, n);
  const Reg f2 = Vec::mul(f, f);
  const Reg p01 = Vec::fma(f, Vec::broadcast(0.693146944F), Vec::broadcast(1.00000012F));
  const Reg p23 = Vec::fma(f, Vec::broadcast(0.0555071309F), Vec::broadcast(0.240221202F));
  const Reg p45 = Vec::fma(f, Vec::broadcast(0.00132764725F), Vec::broadcast(0.00967554096F));
  const Reg e = Vec::scale(Vec::fma(f2, Vec::fma(f2, p45, p23), p01), n);
  one_plus_e = Vec::add(e, one);
  return Vec::quotient(Vec::select_non_negative(x, one, e), one_plus_e);
}

// max(z, 0), the linear part of -log(sigmoid(-z)) = max(z, 0) + log(1 + exp(-|z|)). z is the second operand, which is
// what x86 returns where one is NaN: the loss of NaN is to be NaN.
[[gnu::always_inline]] inline Vec::Reg positive_part(Vec::Reg z) noexcept { return Vec::max(Vec::zero(), z); }

// 100 factors of at most 2 stay below the largest float, 2^128.
constexpr std::uint32_t kFactorsPerFold = 100;

void drain_loss(LossSum& loss) noexcept {
  for (int lane = 0; lane < 16; ++lane) {
    loss.total +=
        static_cast<double>(loss.linear_lanes[lane]) + __builtin_log(static_cast<double>(loss.factor_lanes[lane]));
    loss.linear_lanes[lane] = 0.0F;
    loss.factor_lanes[lane] = 1.0F;
  }
  loss.factor_count = 0;
}

// Folds when `factors` more multiplications could overflow a lane.
inline void make_room(LossSum& loss, std::uint32_t factors) noexcept {
  if (loss.factor_count + factors > kFactorsPerFold) drain_loss(loss);
  loss.factor_count += factors;
}

}  // namespace
}  // namespace fastembed
