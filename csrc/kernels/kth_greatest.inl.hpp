// The k-th greatest of some floats, without a branch that depends on them: of a few, all ranks are counted, of more,
// the ordered bit patterns are bisected.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// Orders bit patterns as the floats are: -infinity first.
[[gnu::always_inline]] inline std::uint32_t float_order(float value) noexcept {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
[[gnu::always_inline]] inline float ordered_float(std::uint32_t order) noexcept {
  return __builtin_bit_cast(float, (order & 0x80000000U) != 0 ? order & 0x7fffffffU : ~order);
}

[[gnu::always_inline]] inline std::size_t count_at_least(const float* values, std::size_t count, float least) noexcept {
  const Vec::Reg pivot = Vec::broadcast(least);
  std::size_t reached = 0;
  for (std::size_t i = 0; i < count; i += Vec::kLanes) {
    reached += static_cast<std::size_t>(__builtin_popcount(Vec::at_least(Vec::load(values + i), pivot)));
  }
  return reached;
}

// Of all lanes, in pairs: no comparison waits for more than four others.
template <class Better>
[[gnu::always_inline]] inline float best_lane(Vec::Reg lanes, const Better& better) noexcept {
  alignas(64) float floats[Vec::kLanes];
  Vec::store(floats, lanes);
#pragma GCC unroll 4
  for (int half = Vec::kLanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int lane = 0; lane < half; ++lane) {
      const float other = floats[lane + half];
      floats[lane] = better(other, floats[lane]) ? other : floats[lane];
    }
  }
  return floats[0];
}

constexpr std::size_t kFew = 3 * static_cast<std::size_t>(Vec::kLanes);
static_assert(kFew <= 64);

// The greatest value that at least k reach. No count waits for another.
[[gnu::always_inline]] inline float kth_of_few(const float* values, std::size_t count, std::size_t k) noexcept {
  std::uint64_t reached = 0;
  for (std::size_t i = 0; i < count; ++i) {
    reached |= static_cast<std::uint64_t>(count_at_least(values, count, values[i]) >= k) << i;
  }
  const Vec::Reg none = Vec::broadcast(-__builtin_inff());
  Vec::Reg found = none;
  for (std::size_t i = 0; i < count; i += Vec::kLanes) {
    found = Vec::max(found, Vec::choose(static_cast<std::uint32_t>(reached >> i), Vec::load(values + i), none));
  }
  return best_lane(found, [](float a, float b) { return a > b; });
}

float kth_greatest_f32(const float* values, std::size_t count, std::size_t k) noexcept {
  if (count <= kFew) return kth_of_few(values, count, k);
  Vec::Reg most = Vec::load(values);
  for (std::size_t i = Vec::kLanes; i < count; i += Vec::kLanes) most = Vec::max(most, Vec::load(values + i));
  // At least k values reach `low`; fewer reach `high`. The k-th is looked for below the greatest, ever further off.
  std::uint32_t low = float_order(-__builtin_inff());
  std::uint32_t high = float_order(best_lane(most, [](float a, float b) { return a > b; })) + 1;
  std::uint32_t step = 1U << 20;
  while (high - low > 1) {
    const std::uint32_t middle = step != 0 && high - low > step ? high - step : low + (high - low) / 2;
    const std::size_t reached = count_at_least(values, count, ordered_float(middle));
    step = reached >= k ? 0 : step << 2;
    (reached >= k ? low : high) = middle;
    if (reached == k) break;
  }
  // The least of those that reach `low`: the k-th, or one that ties with it.
  const Vec::Reg least = Vec::broadcast(ordered_float(low)), none = Vec::broadcast(__builtin_inff());
  Vec::Reg found = none;
  for (std::size_t i = 0; i < count; i += Vec::kLanes) {
    const Vec::Reg some = Vec::load(values + i);
    found = Vec::min(found, Vec::choose(Vec::at_least(some, least), some, none));
  }
  return best_lane(found, [](float a, float b) { return a < b; });
}

}  // namespace
}  // namespace fastembed
