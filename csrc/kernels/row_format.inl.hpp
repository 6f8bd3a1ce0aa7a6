// How rows of the training matrices are read and updated: float32, or 16 bits with stochastic rounding.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// Random bits for stochastic rounding; half a draw a store. Seeds of neighbouring lanes are mixed (SplitMix64).
class RoundingBits {
 public:
  explicit RoundingBits(std::uint64_t seed) noexcept {
    std::uint32_t lanes[Vec::kLanes];
    for (int lane = 0; lane < Vec::kLanes; ++lane) {
      std::uint64_t z = seed + 0x9e3779b97f4a7c15ULL * static_cast<std::uint64_t>(lane + 1);
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
      lanes[lane] = static_cast<std::uint32_t>(z >> 32);
    }
    state_ = Vec::load_bits(lanes);
  }

  Vec::Bits next() noexcept {
    second_half_ = !second_half_;
    if (!second_half_) return Vec::high_half(state_);
    state_ = Vec::next_random(state_);
    return Vec::low_half(state_);
  }
  // Both halves of a draw.
  Vec::Bits next_both() noexcept {
    second_half_ = false;
    return state_ = Vec::next_random(state_);
  }

 private:
  Vec::Bits state_;
  bool second_half_ = false;
};

struct Float32Rows {
  using Element = float;
  static Vec::Reg load(const float* from) noexcept { return Vec::load(from); }
  static void add(float* to, Vec::Reg delta, RoundingBits&) noexcept { Vec::store(to, Vec::add(Vec::load(to), delta)); }
};

struct Bfloat16Rows {
  using Element = std::uint16_t;
  static Vec::Reg load(const std::uint16_t* from) noexcept { return Vec::load_bf16(from); }
  static void add(std::uint16_t* to, Vec::Reg delta, RoundingBits& random) noexcept {
    Vec::store_bf16(to, Vec::add(Vec::load_bf16(to), delta), random.next());
  }
};

struct Float16Rows {
  using Element = std::uint16_t;
  static Vec::Reg load(const std::uint16_t* from) noexcept { return Vec::load_f16(from); }
  static void add(std::uint16_t* to, Vec::Reg delta, RoundingBits& random) noexcept {
    Vec::store_f16(to, Vec::add(Vec::load_f16(to), delta), random.next());
  }
};

// Not rows of a matrix: what would be added to them is kept for later.
struct StoredSums {
  using Element = float;
  static void add(float* to, Vec::Reg delta, RoundingBits&) noexcept { Vec::store(to, delta); }
};

}  // namespace
}  // namespace fastembed
