// Fused multiply-adds in registers and nothing else: the ceiling that benches state their figures against.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

double fma_peak_f32(std::size_t rounds, float* sink) noexcept {
  using Reg = Vec::Reg;
  // 12 chains hide a latency of 4-5 cycles at two a cycle and fit the 16 registers of AVX2.
  constexpr std::size_t kChains = 12;
  Reg chains[kChains];
  for (std::size_t c = 0; c < kChains; ++c) chains[c] = Vec::broadcast(static_cast<float>(c));
  const Reg factor = Vec::broadcast(sink[0]);
  const Reg term = Vec::broadcast(sink[1]);
  for (std::size_t round = 0; round < rounds; ++round) {
    for (auto& chain : chains) chain = Vec::fma(chain, factor, term);
  }
  Reg total = Vec::zero();
  for (const auto& chain : chains) total = Vec::add(total, chain);
  sink[0] = Vec::sum(total);
  return 2.0 * static_cast<double>(rounds * kChains * Vec::kLanes);
}

}  // namespace
}  // namespace fastembed
