#include "train/chunk_encoder.hpp"

#include <algorithm>
#include <cstring>

namespace fastembed::train {
namespace {

constexpr std::size_t kBatch = 64;              // tokens whose slots are fetched at the same time
constexpr std::size_t kWindowBlocks = 64;       // 4 KiB of text between looks at `stop`
constexpr std::size_t kStopInterval = 1 << 14;  // tokens between looks at `stop`, where there is no text
constexpr std::int32_t kDropped = -1;

bool is_space(std::uint8_t byte) noexcept { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

bool is_ascii(const TokenKey& key) noexcept {
  constexpr std::uint64_t kHighBits = 0x8080808080808080ULL;
  if (!key.is_long()) return ((key.low | key.high) & kHighBits) == 0;
  const char* bytes = key.long_bytes();
  return std::all_of(bytes, bytes + key.size(), [](char byte) { return (byte & 0x80) == 0; });
}

std::string hex_of(std::span<const std::uint8_t> bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) {
    if (!text.empty()) text += ' ';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

[[noreturn]] void throw_invalid_utf8(const TextChunk& chunk, std::uint64_t token_offset,
                                     std::span<const std::uint8_t> token, const Utf8Fault& fault) {
  const auto bytes = token.subspan(fault.offset, fault.length);
  const std::uint64_t offset = token_offset + fault.offset;
  std::string message = std::string(fault.reason) + ": " + *chunk.source + " is not UTF-8 at byte offset " +
                        std::to_string(offset) + " (bytes " + hex_of(bytes) + ")";
  const bool utf16 = offset == 0 && token.size() >= 2 &&
                     ((token[0] == 0xFF && token[1] == 0xFE) || (token[0] == 0xFE && token[1] == 0xFF));
  message += utf16 ? "; it starts with a UTF-16 byte order mark: convert it to UTF-8 first"
                   : "; errors='replace' or errors='ignore' reads on";
  throw InvalidUtf8(message, std::string(bytes.begin(), bytes.end()));
}

std::string too_long(const std::string& where) {
  return where + " is longer than " + std::to_string(kMaxTokenBytes) +
         " bytes; errors='replace' or errors='ignore' drops such tokens";
}

}  // namespace

void ChunkEncoder::clear() noexcept {
  length_ = 0;
  leading_break_ = false;
}

void ChunkEncoder::end_sentence() noexcept {
  if (length_ == 0) {
    leading_break_ = true;
  } else {
    ids_[length_ - 1] |= static_cast<std::int32_t>(kSentenceEndBit);
  }
}

std::int32_t ChunkEncoder::drop_long() noexcept {
  ++counts_.long_tokens;
  if (break_at_dropped_) end_sentence();
  return kDropped;
}

std::int32_t ChunkEncoder::count_or_insert(const TokenKey& key) {
  TokenTable::Slot& slot = table_.find(key);
  if (slot.count == 0) return table_.insert(slot, key, 1);
  ++slot.count;
  return slot.id;
}

// Keys first, with their slots on the way from memory, then the lookups: cache misses of a batch overlap.
template <class KeyAt, class EndsAt, class Admit>
void ChunkEncoder::encode_tokens(std::size_t tokens, const KeyAt& key_at, const EndsAt& ends_at, const Admit& admit) {
  if (ids_.size() < length_ + tokens) ids_.resize(std::max(length_ + tokens, ids_.size() * 2));
  counts_.raw_tokens += tokens;
  TokenKey keys[kBatch];
  for (std::size_t first = 0; first < tokens; first += kBatch) {
    const std::size_t count = std::min(kBatch, tokens - first);
    for (std::size_t i = 0; i < count; ++i) {
      keys[i] = key_at(first + i);
      table_.prefetch(keys[i].hash);
    }
    for (std::size_t i = 0; i < count; ++i) {
      TokenTable::Slot& slot = table_.find(keys[i]);
      const std::uint32_t end_bit = ends_at(first + i);
      if (slot.count != 0) {
        ++slot.count;
        ids_[length_++] = static_cast<std::int32_t>(static_cast<std::uint32_t>(slot.id) | end_bit);
        continue;
      }
      const std::int32_t id = admit(first + i, keys[i], slot);
      if (id != kDropped) {
        ids_[length_++] = static_cast<std::int32_t>(static_cast<std::uint32_t>(id) | end_bit);
      } else if (end_bit != 0) {
        end_sentence();
      }
    }
  }
}

// A token that is not in the table. What the table holds is valid, so only here is UTF-8 looked at.
std::int32_t ChunkEncoder::admit_text(const TextChunk& chunk, std::size_t start, std::size_t size, const TokenKey& key,
                                      TokenTable::Slot& vacant) {
  const std::uint64_t offset = chunk.source_offset + start;
  if (size > kMaxTokenBytes) {
    if (errors_ == Utf8Errors::kStrict) {
      throw std::invalid_argument(
          too_long("the token at byte offset " + std::to_string(offset) + " of " + *chunk.source));
    }
    return drop_long();
  }
  if (is_ascii(key)) return table_.insert(vacant, key, 1);
  const std::span token(chunk.text + start, size);
  const Utf8Fault fault = find_utf8_fault(token, 0);
  if (fault.length == 0) return table_.insert(vacant, key, 1);
  if (errors_ == Utf8Errors::kStrict) throw_invalid_utf8(chunk, offset, token, fault);
  const std::string repaired = repair_utf8(token, errors_);
  ++counts_.repaired_tokens;
  if (repaired.empty()) {
    --counts_.raw_tokens;
    return kDropped;
  }
  return count_or_insert(make_token_key(repaired));
}

void ChunkEncoder::encode_edges(const TextChunk& chunk, std::size_t origin, const std::uint32_t* edges,
                                std::size_t tokens) {
  const std::uint8_t* text = chunk.text + origin;
  const std::size_t size = chunk.size - origin;
  const auto length_of = [&](std::size_t i) { return (edges[2 * i + 1] & ~kSentenceEndBit) - edges[2 * i]; };
  encode_tokens(
      tokens,
      [&](std::size_t i) {
        const std::uint32_t start = edges[2 * i];
        return make_token_key(text + start, length_of(i), size - start);
      },
      [&](std::size_t i) { return edges[2 * i + 1] & kSentenceEndBit; },
      [&](std::size_t i, const TokenKey& key, TokenTable::Slot& vacant) {
        return admit_text(chunk, origin + edges[2 * i], length_of(i), key, vacant);
      });
}

void ChunkEncoder::encode(const TextChunk& chunk, const KernelTable& kernels, const support::StopFlag& stop) {
  clear();
  edges_.resize(64 * kWindowBlocks + 16);
  const std::uint8_t* text = chunk.text;
  std::size_t at = chunk.begin;
  if (at > 0 && !is_space(text[at - 1])) {
    while (at < chunk.end && !is_space(text[at])) ++at;
  } else if (at == 0 && chunk.source_offset == 0 && chunk.end >= 3 && std::memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
    at = 3;
  }
  const std::size_t origin = at;
  TokenEdges found{edges_.data(), 0, 0, 0, 0};
  while (at < chunk.end) {
    if (stop.load(std::memory_order_relaxed)) return;
    const auto position = static_cast<std::uint32_t>(at - origin);
    const std::size_t left = chunk.end - at;
    if (const std::size_t blocks = std::min(left / 64, kWindowBlocks); blocks > 0) {
      kernels.token_edges_u8(text + at, blocks, position, found);
      at += 64 * blocks;
    } else {
      // The last bytes in a block of their own, filled up so that nothing changes after them.
      std::uint8_t block[64];
      std::memset(block, is_space(text[chunk.end - 1]) ? ' ' : 'x', sizeof block);
      std::memcpy(block, text + at, left);
      kernels.token_edges_u8(block, 1, position, found);
      at = chunk.end;
    }
    if (found.leading_newline != 0) end_sentence();
    found.leading_newline = 0;
    encode_edges(chunk, origin, edges_.data(), found.edge_count / 2);
    if (found.edge_count % 2 == 1) edges_[0] = edges_[found.edge_count - 1];
    found.edge_count %= 2;
  }
  if (found.in_token != 0) {
    const std::size_t last = std::min(chunk.size, origin + edges_[0] + kMaxTokenBytes + 1);
    while (at < last && !is_space(text[at])) ++at;
    edges_[1] = static_cast<std::uint32_t>(at - origin);
    encode_edges(chunk, origin, edges_.data(), 1);
  }
  if (chunk.ends_source) end_sentence();
}

void ChunkEncoder::encode(const TokenListChunk& chunk, const support::StopFlag& stop) {
  clear();
  const auto& ends = chunk.sentence_ends;
  const std::string_view* tokens = chunk.tokens.data();
  auto next_end = std::upper_bound(ends.begin(), ends.end(), static_cast<std::uint64_t>(chunk.begin));
  for (std::size_t begin = chunk.begin; begin < chunk.end; begin += kStopInterval) {
    if (stop.load(std::memory_order_relaxed)) return;
    encode_tokens(
        std::min(kStopInterval, chunk.end - begin), [&](std::size_t i) { return make_token_key(tokens[begin + i]); },
        [&](std::size_t i) {
          if (next_end == ends.end() || *next_end != begin + i + 1) return 0U;
          while (next_end != ends.end() && *next_end == begin + i + 1) ++next_end;
          return kSentenceEndBit;
        },
        [&](std::size_t i, const TokenKey& key, TokenTable::Slot& vacant) {
          if (key.size() <= kMaxTokenBytes) return table_.insert(vacant, key, 1);
          if (errors_ == Utf8Errors::kStrict) {
            const auto sentence = std::upper_bound(ends.begin(), ends.end(), begin + i) - ends.begin();
            throw std::invalid_argument(
                too_long("a token of sentence " + std::to_string(chunk.first_sentence + sentence)));
          }
          return drop_long();
        });
  }
}

template <class Integer>
void ChunkEncoder::encode(const IntegerChunk<Integer>& chunk, const support::StopFlag& stop) {
  clear();
  const auto& offsets = chunk.offsets;
  auto next_end = std::upper_bound(offsets.begin(), offsets.end(), static_cast<std::int64_t>(chunk.begin));
  for (std::size_t begin = chunk.begin; begin < chunk.end; begin += kStopInterval) {
    if (stop.load(std::memory_order_relaxed)) return;
    const Integer* ids = chunk.ids.data() + begin;
    encode_tokens(
        std::min(kStopInterval, chunk.end - begin),
        [&](std::size_t i) { return make_integer_key(static_cast<std::uint64_t>(ids[i])); },
        [&](std::size_t i) {
          const auto after = static_cast<std::int64_t>(begin + i + 1);
          if (next_end == offsets.end() || *next_end != after) return 0U;
          while (next_end != offsets.end() && *next_end == after) ++next_end;
          return kSentenceEndBit;
        },
        // A negative id is new once at the latest: it is never let into the table.
        [&](std::size_t i, const TokenKey& key, TokenTable::Slot& vacant) {
          if (std::is_signed_v<Integer> && static_cast<std::int64_t>(key.low) < 0) {
            throw std::invalid_argument("ids must not be negative, got " +
                                        std::to_string(static_cast<std::int64_t>(key.low)) + " at index " +
                                        std::to_string(begin + i));
          }
          return table_.insert(vacant, key, 1);
        });
  }
}

template void ChunkEncoder::encode(const IntegerChunk<std::int32_t>&, const support::StopFlag&);
template void ChunkEncoder::encode(const IntegerChunk<std::int64_t>&, const support::StopFlag&);
template void ChunkEncoder::encode(const IntegerChunk<std::uint32_t>&, const support::StopFlag&);
template void ChunkEncoder::encode(const IntegerChunk<std::uint64_t>&, const support::StopFlag&);

}  // namespace fastembed::train
