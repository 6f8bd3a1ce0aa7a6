// A hash table from pairs of word ids to counts, built for one writer; readable from any thread once it is filled.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "support/aligned_buffer.hpp"
#include "train/token_table.hpp"

namespace fastembed::train {

using PairKey = std::uint64_t;

inline PairKey make_pair_key(std::int32_t first, std::int32_t second) noexcept {
  return (static_cast<PairKey>(static_cast<std::uint32_t>(first)) << 32) | static_cast<std::uint32_t>(second);
}
inline std::int32_t first_of(PairKey key) noexcept { return static_cast<std::int32_t>(key >> 32); }
inline std::int32_t second_of(PairKey key) noexcept { return static_cast<std::int32_t>(key & 0xffffffffULL); }

/// The constant is wyhash's.
inline std::uint64_t hash_pair(PairKey key) noexcept { return detail::mix(key, 0xe7037ed1a0b428dbULL); }

class PairTable {
 public:
  /// A table that ignores the top `skipped_bits` of every hash, because they are the same in all of its pairs.
  explicit PairTable(int skipped_bits = 0) : skipped_bits_(skipped_bits) {}

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t memory_bytes() const noexcept { return slots_.size() * sizeof(Slot); }

  void prefetch(std::uint64_t hash) const noexcept {
    if (size_ > 0) __builtin_prefetch(&slots_[home(hash)], 1);
  }

  void add(PairKey key, std::uint64_t hash) {
    if (size_ >= slots_.size() / 8 * 5) resize(slots_.size() == 0 ? kFirstCapacity : slots_.size() * 2);
    Slot& slot = slots_[place_of(key, hash)];
    if (slot.count == 0) {
      slot.key = key;
      ++size_;
    }
    ++slot.count;
  }

  [[nodiscard]] bool contains(PairKey key) const noexcept {
    return size_ > 0 && slots_[place_of(key, hash_pair(key))].count != 0;
  }

  /// Calls visit(key, count), in unspecified order.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].count != 0) visit(slots_[i].key, slots_[i].count);
    }
  }

 private:
  struct Slot {
    PairKey key;
    std::uint64_t count;  // 0: vacant
  };
  static constexpr std::size_t kFirstCapacity = 64;

  [[nodiscard]] std::size_t home(std::uint64_t hash) const noexcept { return (hash << skipped_bits_) >> index_shift_; }
  // Where the pair is, or the vacant slot where it belongs.
  [[nodiscard]] std::size_t place_of(PairKey key, std::uint64_t hash) const noexcept {
    std::size_t at = home(hash);
    while (slots_[at].count != 0 && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void resize(std::size_t capacity) {
    const auto old = std::exchange(slots_, support::AlignedBuffer<Slot>(capacity));
    index_shift_ = 64 - std::countr_zero(capacity);
    for (std::size_t i = 0; i < old.size(); ++i) {
      if (old[i].count != 0) slots_[place_of(old[i].key, hash_pair(old[i].key))] = old[i];
    }
  }

  support::AlignedBuffer<Slot> slots_;
  int skipped_bits_;
  int index_shift_ = 64;
  std::size_t size_ = 0;
};

}  // namespace fastembed::train
