// Counter-based random streams: draw n of a stream is a pure function of (seed, stream, epoch, n), so any worker,
// instruction set or device that trains position n sees the same numbers. The generator is SplitMix64 (Steele, Lea &
// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) evaluated at any index.
#pragma once

#include <cstdint>

namespace fastembed::support {

enum class Stream : std::uint64_t { kInitialVectors = 0, kTokens = 1, kNegatives = 2, kPools = 3 };

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

constexpr std::uint64_t mix64(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

constexpr std::uint64_t stream_key(std::uint64_t seed, Stream stream, std::uint64_t epoch) noexcept {
  return mix64(mix64(seed + kGolden) + kGolden * (4 * epoch + static_cast<std::uint64_t>(stream) + 1));
}

constexpr std::uint64_t draw(std::uint64_t key, std::uint64_t n) noexcept { return mix64(key + kGolden * (n + 1)); }

}  // namespace fastembed::support
