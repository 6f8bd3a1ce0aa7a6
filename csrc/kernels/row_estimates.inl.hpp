// From products of rows to the few that may be the best: what a search of few rows does between its scan and the
// definition.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

bool estimate_rows_f32(const RowEstimates& step) noexcept {
  using Reg = Vec::Reg;
  constexpr std::size_t kStep = Vec::kLanes, kColumns = 16;
  constexpr std::uint32_t kAll = (std::uint32_t{1} << kStep) - 1;
  const Reg nothing = Vec::broadcast(-__builtin_inff());
  const Reg least = Vec::broadcast(step.least_norm), most = Vec::broadcast(step.greatest_norm);
  const Reg factor = Vec::broadcast(step.terms.factor), factor_slope = Vec::broadcast(step.terms.factor_slope);
  const Reg offset = Vec::broadcast(step.terms.offset), offset_slope = Vec::broadcast(step.terms.offset_slope);
  const Reg offset_square = Vec::broadcast(step.terms.offset_square);
  std::uint32_t sure = kAll;
  const auto estimate = [&](Reg product, Reg norm) {
    const Reg o = Vec::fma(norm, Vec::fma(norm, offset_square, offset_slope), offset);
    return Vec::div(Vec::sub(product, o), Vec::fma(norm, factor_slope, factor));
  };
  for (std::size_t first = 0; first < step.count; first += kEstimateBlock) {
    Reg greatest[kColumns / kStep];
    for (auto& value : greatest) value = nothing;
    for (std::size_t i = 0; i < kEstimateBlock; i += kStep) {
      const std::size_t r = first + i;
      Reg value = nothing;
      if (r < step.count) {
        const std::size_t rest = step.count - r;
        const std::uint32_t valid = rest >= kStep ? kAll : (std::uint32_t{1} << rest) - 1;
        const auto load = [&](const float* from) {
          return rest >= kStep ? Vec::load(from + r) : Vec::load_first(from + r, rest);
        };
        const bool known = step.known_norms != nullptr;
        const Reg norm = known ? load(step.known_norms) : Vec::sqrt(load(step.squares));
        if (!known) Vec::store(step.norms + r, norm);
        sure &= (Vec::at_least(norm, least) & Vec::at_least(most, norm)) | ~valid;
        value = Vec::choose(valid, estimate(load(step.products), norm), nothing);
      }
      Vec::store(step.estimates + r, value);
      Reg& column = greatest[i % kColumns / kStep];
      column = Vec::max(column, value);
    }
    for (std::size_t c = 0; c < kColumns; c += kStep) {
      Vec::store(step.greatest + first / 4 + c, greatest[c / kStep]);
    }
  }
  return (sure & kAll) == kAll;
}

std::size_t rows_at_least_f32(const float* values, std::size_t count, float least, std::uint32_t* rows,
                              std::size_t room) noexcept {
  const Vec::Reg pivot = Vec::broadcast(least);
  std::size_t found = 0;
  for (std::size_t first = 0; first < count; first += kEstimateBlock) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < kEstimateBlock; i += Vec::kLanes) {
      bits |= std::uint64_t{Vec::at_least(Vec::load(values + first + i), pivot)} << i;
    }
    for (; bits != 0; bits &= bits - 1) {
      if (found == room) return room + 1;
      rows[found++] = static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(__builtin_ctzll(bits));
    }
  }
  return found;
}

}  // namespace
}  // namespace fastembed
