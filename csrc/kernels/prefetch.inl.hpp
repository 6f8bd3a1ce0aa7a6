// What scans over rows against panels of queries share: how many queries at once, and what is fetched meanwhile.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kScanColumns = 2;  // registers of queries of a block

// The cache lines that one strip is to prefetch, a few at a time.
struct Prefetch {
  const char* next;
  const char* end;
  std::size_t lines_a_turn;

  [[gnu::always_inline]] void turn() noexcept {
    for (std::size_t i = 0; i < lines_a_turn && next < end; ++i, next += 64) __builtin_prefetch(next, 0, 2);
  }
};

}  // namespace
}  // namespace fastembed
