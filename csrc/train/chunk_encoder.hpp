// One worker's half of the corpus reader: text to tokens to ids of its own table. Knows nothing of files or threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "support/thread_pool.hpp"
#include "train/id_store.hpp"
#include "train/token_table.hpp"
#include "train/utf8.hpp"

namespace fastembed::train {

/// A longer token is an error under Utf8Errors::kStrict and is dropped otherwise.
constexpr std::size_t kMaxTokenBytes = std::size_t{64} << 10;

/// A piece of a text: the tokens that start in [begin, end). A token that starts before `begin` is another piece's,
/// one that starts before `end` is followed beyond it, up to `size`.
struct TextChunk {
  const std::uint8_t* text = nullptr;
  std::size_t size = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
  std::uint64_t source_offset = 0;  // of `text` in its source, for messages
  bool ends_source = false;         // the sentence ends with this piece
  const std::string* source = nullptr;
};

/// Bytes that are not UTF-8 in a source read with errors="strict".
class InvalidUtf8 : public std::invalid_argument {
 public:
  InvalidUtf8(const std::string& message, std::string bytes)
      : std::invalid_argument(message), bytes_(std::move(bytes)) {}
  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }

 private:
  std::string bytes_;
};

struct EncoderCounts {
  std::uint64_t raw_tokens = 0;       // all tokens met, dropped ones included
  std::uint64_t long_tokens = 0;      // dropped for their length
  std::uint64_t repaired_tokens = 0;  // changed by errors="replace" or "ignore"

  void add(const EncoderCounts& other) noexcept {
    raw_tokens += other.raw_tokens;
    long_tokens += other.long_tokens;
    repaired_tokens += other.repaired_tokens;
  }
};

/// Tokens that were never a text: `tokens[i]` may hold white space. `sentence_ends` are positions in `tokens`, in
/// ascending order; `first_sentence` is the number of the sentence that tokens[0] belongs to, for messages.
struct TokenListChunk {
  std::span<const std::string_view> tokens;
  std::span<const std::uint64_t> sentence_ends;
  std::size_t begin = 0;
  std::size_t end = 0;
  std::uint64_t first_sentence = 0;
};

/// Positions [begin, end) of a graph walk or item sequence; `offsets` are the sentence borders of all of `ids`.
template <class Integer>
struct IntegerChunk {
  std::span<const Integer> ids;
  std::span<const std::int64_t> offsets;
  std::size_t begin = 0;
  std::size_t end = 0;
};

class ChunkEncoder {
 public:
  /// With `break_at_dropped` a token that is too long ends the sentence.
  explicit ChunkEncoder(Utf8Errors errors, bool break_at_dropped = false)
      : errors_(errors), break_at_dropped_(break_at_dropped) {}

  /// Starts a new segment and encodes a chunk. Returns early, with an incomplete result, when `stop` is set. Throws
  /// InvalidUtf8, or std::invalid_argument for a token that is too long; both name source and byte offset.
  void encode(const TextChunk& chunk, const KernelTable& kernels, const support::StopFlag& stop);
  void encode(const TokenListChunk& chunk, const support::StopFlag& stop);
  /// For std::int32_t, std::int64_t, std::uint32_t and std::uint64_t. Throws std::invalid_argument below 0.
  template <class Integer>
  void encode(const IntegerChunk<Integer>& chunk, const support::StopFlag& stop);

  [[nodiscard]] std::span<const std::int32_t> ids() const noexcept { return {ids_.data(), length_}; }
  [[nodiscard]] bool leading_break() const noexcept { return leading_break_; }
  [[nodiscard]] TokenTable& table() noexcept { return table_; }
  [[nodiscard]] const EncoderCounts& counts() const noexcept { return counts_; }

 private:
  template <class KeyAt, class EndsAt, class Admit>
  void encode_tokens(std::size_t tokens, const KeyAt& key_at, const EndsAt& ends_at, const Admit& admit);
  void encode_edges(const TextChunk& chunk, std::size_t origin, const std::uint32_t* edges, std::size_t tokens);
  std::int32_t admit_text(const TextChunk& chunk, std::size_t start, std::size_t size, const TokenKey& key,
                          TokenTable::Slot& vacant);
  std::int32_t drop_long() noexcept;
  std::int32_t count_or_insert(const TokenKey& key);
  void clear() noexcept;
  void end_sentence() noexcept;

  Utf8Errors errors_;
  bool break_at_dropped_;
  TokenTable table_;
  std::vector<std::int32_t> ids_;  // length_ of them in use
  std::size_t length_ = 0;
  std::vector<std::uint32_t> edges_;
  bool leading_break_ = false;
  EncoderCounts counts_;
};

}  // namespace fastembed::train
