// What scans over rows against panels of queries share: how many queries at once, and what is fetched meanwhile.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kScanColumns = 2;  // registers of queries of a block

// What a scan that memory bounds reads later: the processor's prefetchers stop at pages' ends and keep less on its way.
constexpr std::size_t kReadAhead = 2048;
[[gnu::always_inline]] inline void read_ahead(const void* at) noexcept {
  __builtin_prefetch(reinterpret_cast<const char*>(reinterpret_cast<std::size_t>(at) + kReadAhead), 0, 3);
}

// The cache lines that one strip is to prefetch, a few at a time.
struct Prefetch {
  const char* next;
  const char* end;
  std::size_t lines_a_turn;

  [[gnu::always_inline]] void turn() noexcept {
    for (std::size_t i = 0; i < lines_a_turn && next < end; ++i, next += 64) __builtin_prefetch(next, 0, 2);
  }
};

// The same, and then pieces of so many lines, anywhere.
struct PiecePrefetch {
  const char* next;
  const char* end;
  const char* const* pieces;
  const char* const* pieces_end;
  std::size_t piece_lines;
  std::size_t lines_a_turn;

  [[nodiscard]] std::size_t lines() const noexcept {
    return static_cast<std::size_t>(end - next) / 64 + static_cast<std::size_t>(pieces_end - pieces) * piece_lines;
  }
  [[gnu::always_inline]] void turn() noexcept {
    for (std::size_t i = 0; i < lines_a_turn && next < end; ++i, next += 64) __builtin_prefetch(next, 0, 2);
    if (next < end || pieces == pieces_end) return;
    next = *pieces++;
    end = next + piece_lines * 64;
  }
};

}  // namespace
}  // namespace fastembed
