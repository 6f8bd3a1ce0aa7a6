// A hash table from tokens to dense ids and counts, built for one writer. Tokens of up to 15 bytes live in the slot
// itself, so that a lookup touches one cache line; longer ones in an arena. Slots are ordered by the hash's top bits:
// growing is a sequential sweep, and tables can be merged range by range.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "support/aligned_buffer.hpp"

namespace fastembed::train {

static_assert(std::endian::native == std::endian::little, "token keys are read as little-endian words");

constexpr std::size_t kInlineTokenBytes = 15;

/// A token ready for lookup. Up to 15 bytes: the bytes themselves, zero padded, and the length in the top byte of
/// `high`. Longer: the address in `low` and kLongToken | length in `high`.
struct TokenKey {
  std::uint64_t low;
  std::uint64_t high;
  // 32 bits. In a field of 32 the key would have padding, which compilers copy with it, and the load of a word of which
  // half was just stored stalls: a fifth of the reader's time on Zen 4, gcc 12.
  std::uint64_t hash;

  static constexpr std::uint64_t kLongToken = 0x80ULL << 56;

  [[nodiscard]] bool is_long() const noexcept { return (high & kLongToken) != 0; }
  [[nodiscard]] const char* long_bytes() const noexcept {
    return reinterpret_cast<const char*>(static_cast<std::uintptr_t>(low));
  }
  [[nodiscard]] std::size_t size() const noexcept { return is_long() ? high & ~kLongToken : high >> 56; }
};

namespace detail {

__extension__ using Product = unsigned __int128;

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  const Product product = static_cast<Product>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t load_word(const std::uint8_t* from) noexcept {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// The constants are wyhash's.
inline std::uint64_t hash_words(std::uint64_t low, std::uint64_t high) noexcept {
  return mix(low ^ 0xa0761d6478bd642fULL, high ^ 0xe7037ed1a0b428dbULL) >> 32;
}

// mask[n] keeps the first n bytes of a word.
inline constexpr std::uint64_t kByteMask[9] = {0,
                                               0xffULL,
                                               0xffffULL,
                                               0xffffffULL,
                                               0xffffffffULL,
                                               0xffffffffffULL,
                                               0xffffffffffffULL,
                                               0xffffffffffffffULL,
                                               0xffffffffffffffffULL};

TokenKey make_long_key(const std::uint8_t* token, std::size_t size) noexcept;

}  // namespace detail

/// The key of `size` bytes at `token`. `readable` bytes may be read from there (at least `size`); with 16 or more the
/// token is read with two loads.
inline TokenKey make_token_key(const std::uint8_t* token, std::size_t size, std::size_t readable) noexcept {
  if (size > kInlineTokenBytes) return detail::make_long_key(token, size);
  std::uint8_t copy[16] = {};
  if (readable < 16) {
    std::memcpy(copy, token, size);
    token = copy;
  }
  const std::size_t low_size = size < 8 ? size : 8;
  const std::uint64_t low = detail::load_word(token) & detail::kByteMask[low_size];
  const std::uint64_t high =
      (detail::load_word(token + 8) & detail::kByteMask[size - low_size]) | (static_cast<std::uint64_t>(size) << 56);
  return {low, high, detail::hash_words(low, high)};
}

inline TokenKey make_token_key(std::string_view token) noexcept {
  return make_token_key(reinterpret_cast<const std::uint8_t*>(token.data()), token.size(), token.size());
}

/// The key of an integer, as a token of its 8 bytes.
inline TokenKey make_integer_key(std::uint64_t value) noexcept {
  constexpr std::uint64_t kHigh = 8ULL << 56;
  return {value, kHigh, detail::hash_words(value, kHigh)};
}

class TokenTable {
 public:
  struct Slot {
    std::uint64_t low;
    std::uint64_t high;
    std::uint64_t count;  // 0: vacant
    std::uint32_t hash;
    std::int32_t id;

    [[nodiscard]] TokenKey key() const noexcept { return {low, high, hash}; }
    [[nodiscard]] std::string_view token() const noexcept {
      const TokenKey own = key();
      return {own.is_long() ? own.long_bytes() : reinterpret_cast<const char*>(&low), own.size()};
    }
  };

  /// A table that ignores the top `skipped_bits` of every hash, because they are the same in all of its tokens.
  explicit TokenTable(int skipped_bits = 0);

  /// Number of distinct tokens; their ids are 0 .. size() - 1 in order of insertion.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

  void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&slots_[home(hash)], 1); }

  /// The token's slot, or the vacant one where it belongs. Valid until the next insert.
  Slot& find(const TokenKey& key) noexcept {
    for (std::size_t i = home(key.hash);; i = (i + 1) & index_mask_) {
      Slot& slot = slots_[i];
      if (slot.count == 0) return slot;
      if (slot.high == key.high && (slot.low == key.low || same_long_token(slot, key))) return slot;
    }
  }

  /// The same for readers, of which there may be several.
  [[nodiscard]] const Slot& find(const TokenKey& key) const noexcept {
    return const_cast<TokenTable*>(this)->find(key);
  }

  /// Puts a new token into the vacant slot that find returned; the bytes are copied. Returns its id. Throws
  /// std::length_error beyond 2^31 - 1 tokens.
  std::int32_t insert(Slot& vacant, const TokenKey& key, std::uint64_t count);

  /// Makes room for so many tokens in all.
  void reserve(std::size_t tokens);

  /// Calls visit(slot) for each token whose hash has these top bits, in unspecified order.
  template <class Visit>
  void for_each_in_partition(std::uint32_t partition, int partition_bits, const Visit& visit) const {
    const int shift = 32 - partition_bits;
    const std::size_t first = home(std::uint64_t{partition} << shift);
    // A displaced token lies beyond its range, with no vacant slot on the way to it.
    const std::size_t last = home(((std::uint64_t{partition} + 1) << shift) - 1);
    for (std::size_t steps = 0, i = first; steps < slots_.size(); ++steps, i = (i + 1) & index_mask_) {
      const Slot& slot = slots_[i];
      if (slot.count == 0) {
        if (steps >= last - first) return;
      } else if (slot.hash >> shift == partition) {
        visit(slot);
      }
    }
  }

 private:
  [[nodiscard]] std::size_t home(std::uint64_t hash) const noexcept { return (hash >> index_shift_) & index_mask_; }
  static bool same_long_token(const Slot& slot, const TokenKey& key) noexcept {
    return key.is_long() && slot.hash == key.hash &&
           std::memcmp(slot.key().long_bytes(), key.long_bytes(), key.size()) == 0;
  }
  const char* keep_bytes(const char* bytes, std::size_t size);
  void resize(std::size_t capacity);

  support::AlignedBuffer<Slot> slots_;
  std::size_t index_mask_ = 0;
  int index_shift_ = 0;
  int skipped_bits_ = 0;
  std::size_t size_ = 0;
  std::size_t size_limit_ = 0;  // grow beyond
  std::vector<std::unique_ptr<char[]>> arena_;
  std::size_t arena_left_ = 0;
  std::size_t arena_bytes_ = 0;
};

}  // namespace fastembed::train
