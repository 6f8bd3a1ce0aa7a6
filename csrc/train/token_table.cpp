#include "train/token_table.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

namespace fastembed::train {
namespace {

constexpr std::size_t kFirstCapacity = 1 << 10;
constexpr std::size_t kArenaBlock = 1 << 16;

// Linear probing stays short up to five eighths full.
constexpr std::size_t limit_of(std::size_t capacity) { return capacity / 8 * 5; }

}  // namespace

namespace detail {

TokenKey make_long_key(const std::uint8_t* token, std::size_t size) noexcept {
  std::uint64_t state = 0x8ebc6af09c88c6e3ULL ^ size;
  for (std::size_t i = 0; i + 16 < size; i += 16)
    state = mix(load_word(token + i) ^ state, load_word(token + i + 8) ^ 0x589965cc75374cc3ULL);
  state = mix(load_word(token + size - 16) ^ state, load_word(token + size - 8) ^ 0xa0761d6478bd642fULL);
  return {static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(token)), TokenKey::kLongToken | size,
          mix(state, 0xe7037ed1a0b428dbULL) >> 32};
}

}  // namespace detail

TokenTable::TokenTable(int skipped_bits) : skipped_bits_(skipped_bits) { resize(kFirstCapacity); }

std::size_t TokenTable::memory_bytes() const noexcept { return slots_.size() * sizeof(Slot) + arena_bytes_; }

void TokenTable::resize(std::size_t capacity) {
  support::AlignedBuffer<Slot> old = std::exchange(slots_, support::AlignedBuffer<Slot>(capacity));
  index_mask_ = capacity - 1;
  index_shift_ = 32 - skipped_bits_ - std::countr_zero(capacity);
  size_limit_ = limit_of(capacity);
  for (std::size_t i = 0; i < old.size(); ++i) {
    if (old[i].count == 0) continue;
    std::size_t to = home(old[i].hash);
    while (slots_[to].count != 0) to = (to + 1) & index_mask_;
    slots_[to] = old[i];
  }
}

void TokenTable::reserve(std::size_t tokens) {
  std::size_t capacity = slots_.size();
  while (limit_of(capacity) <= tokens) capacity *= 2;
  if (capacity > slots_.size()) resize(capacity);
}

const char* TokenTable::keep_bytes(const char* bytes, std::size_t size) {
  if (arena_left_ < size) {
    const std::size_t block = std::max(size, kArenaBlock);
    arena_.push_back(std::make_unique_for_overwrite<char[]>(block));
    arena_left_ = block;
    arena_bytes_ += block;
  }
  // The block is used from its end.
  arena_left_ -= size;
  char* kept = arena_.back().get() + arena_left_;
  std::memcpy(kept, bytes, size);
  return kept;
}

std::int32_t TokenTable::insert(Slot& vacant, const TokenKey& key, std::uint64_t count) {
  if (size_ >= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw std::length_error("more than 2^31 - 1 distinct tokens");
  }
  const auto id = static_cast<std::int32_t>(size_);
  std::uint64_t low = key.low;
  if (key.is_long()) {
    low = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(keep_bytes(key.long_bytes(), key.size())));
  }
  vacant = {low, key.high, count, static_cast<std::uint32_t>(key.hash), id};
  if (++size_ > size_limit_) resize(slots_.size() * 2);
  return id;
}

}  // namespace fastembed::train
