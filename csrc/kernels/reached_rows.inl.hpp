// Which products of a single query reach the thresholds of their rows.
#pragma once

#include "kernels/scan_codes.inl.hpp"

namespace fastembed {
namespace {

// Lanes load, compare and take thresholds for what Product is.
template <class Lanes, class Product>
std::uint32_t reached_rows(const CodeThresholds& step, const Product* products, std::uint32_t* rows) noexcept {
  constexpr std::size_t kStep = Vec::kLanes, kWord = 64, kGroups = kWord / kCodeGroup;
  static_assert(kStep <= 2 * kCodeGroup && sizeof(Product) == sizeof(std::int32_t));
  const Vec::Reg key = Vec::broadcast(step.key), slope = Vec::broadcast(step.slope);
  const Vec::Reg weight = Vec::broadcast(step.weight), unit = Vec::broadcast(step.unit);
  std::uint32_t found = 0;
  for (std::size_t first = 0; first < step.row_count; first += kWord) {
    const std::size_t left = (step.row_count - first) / kCodeGroup, groups = left < kGroups ? left : kGroups;
    // Aligned by name: what gcc aligns by itself its address sanitizer puts elsewhere.
    alignas(64) float wanted[kGroups + kStep] = {};
    for (std::size_t g = 0; g < groups; g += kStep) {
      const auto load = [&](const float* from) __attribute__((always_inline)) {
        from += first / kCodeGroup + g;
        return groups - g >= kStep ? Vec::load(from) : Vec::load_first(from, groups - g);
      };
      const Vec::Reg slack = Vec::fma(slope, load(step.lengths), Vec::mul(weight, load(step.errors)));
      Vec::store(wanted + g, Vec::sub(Vec::mul(key, load(step.scales)), slack));
    }
    std::uint64_t bits = 0;
    for (std::size_t r = 0; r < groups * kCodeGroup; r += kStep) {
      const float* const group = wanted + r / kCodeGroup;
      Vec::Reg least = Vec::broadcast(group[0]);
      if constexpr (kStep > kCodeGroup) {
        least = Vec::choose((1U << kCodeGroup) - 1, least, Vec::broadcast(group[1]));
      }
      if (step.row_terms != nullptr) least = Vec::fma(Vec::load(step.row_terms + first + r), unit, least);
      alignas(64) std::int32_t lanes[kStep];
      __builtin_memcpy(lanes, products + first + r, sizeof(lanes));
      bits |= std::uint64_t{Lanes::at_least(Lanes::load(lanes), Lanes::floor_within(least, kCodeLimit))} << r;
    }
    if (groups < kGroups) bits &= (std::uint64_t{1} << groups * kCodeGroup) - 1;
    for (; bits != 0; bits &= bits - 1) {
      rows[found++] = static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(__builtin_ctzll(bits));
    }
  }
  return found;
}

}  // namespace
}  // namespace fastembed
