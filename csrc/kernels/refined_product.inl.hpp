// The product of a query with a row's codes and what they leave over, widened together to int16 in registers.
#pragma once

#include "kernels/tile_product.inl.hpp"

namespace fastembed {
namespace {

std::int32_t refined_product(const RefinedProduct& step) noexcept {
  constexpr std::size_t kHalf = kNibbleBlock / 2, kPairs = 2 * static_cast<std::size_t>(Vec::kLanes);
  constexpr std::int32_t kNothing[Vec::kLanes] = {};
  CodeLanes::Reg lower = CodeLanes::load(kNothing), upper = lower;
  for (std::size_t b = 0; b < step.blocks; ++b) {
    const std::uint8_t* const codes = step.codes + b * kNibbleBlock;
    const std::uint8_t* const residuals = step.residuals + b * kHalf;
    const std::int16_t* const query = step.query + b * kNibbleBlock;
    for (std::size_t i = 0; i < kHalf; i += kPairs) {
      const CodeLanes::Reg first = CodeLanes::refined_pairs<false, kRefinedZero>(codes + i, residuals + i);
      const CodeLanes::Reg second = CodeLanes::refined_pairs<true, kRefinedZero>(codes + kHalf + i, residuals + i);
      lower = CodeLanes::add_products(lower, first, CodeLanes::load_pairs(query + i));
      upper = CodeLanes::add_products(upper, second, CodeLanes::load_pairs(query + kHalf + i));
    }
  }
  std::int32_t lanes[2][Vec::kLanes], total = 0;
  CodeLanes::store(lanes[0], lower);
  CodeLanes::store(lanes[1], upper);
  for (std::size_t i = 0; i < Vec::kLanes; ++i) total += lanes[0][i] + lanes[1][i];
  return total;
}

}  // namespace
}  // namespace fastembed
