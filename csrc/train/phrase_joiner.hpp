// Rewrites a text: where two neighbouring words of a line are a phrase, the white space between them becomes the
// delimiter; every other byte stays. Greedy from left to right: a joined pair's second word starts no other pair.
// Holds no files. Called by the bindings.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "support/thread_pool.hpp"
#include "train/pair_table.hpp"
#include "train/token_table.hpp"

namespace fastembed::train {

/// The phrases of a model; not changed after construction, so that many texts may be joined at once.
class PhraseBook {
 public:
  /// Phrase i is words[first[i]], words[second[i]]. Words are distinct. Throws std::invalid_argument for indices out
  /// of range or spans of different lengths.
  PhraseBook(const std::vector<std::string>& words, std::span<const std::int32_t> first,
             std::span<const std::int32_t> second, std::string delimiter);

  static constexpr std::int32_t kNone = -1;

  [[nodiscard]] const std::string& delimiter() const noexcept { return delimiter_; }
  void prefetch(const TokenKey& key) const noexcept { words_.prefetch(key.hash); }
  /// The word's id, or kNone when it is in no phrase.
  [[nodiscard]] std::int32_t id_of(const TokenKey& key) const noexcept {
    const TokenTable::Slot& slot = words_.find(key);
    return slot.count == 0 ? kNone : slot.id;
  }
  /// May be asked about kNone.
  [[nodiscard]] bool is_phrase(std::int32_t first, std::int32_t second) const noexcept {
    return first >= 0 && second >= 0 && starts_phrase_[static_cast<std::size_t>(first)] != 0 &&
           pairs_.contains(make_pair_key(first, second));
  }

 private:
  TokenTable words_;
  PairTable pairs_;
  std::vector<std::uint8_t> starts_phrase_;
  std::string delimiter_;
};

/// One text, given in blocks of any size. What comes out does not depend on how the text is cut, nor on the number of
/// workers: they share a block at places where no join is possible.
class PhraseStream {
 public:
  PhraseStream(std::shared_ptr<const PhraseBook> book, int workers, std::size_t chunk_bytes);

  /// The next part of the result, in pieces; the text ends with the block that is `last`. Bytes since the last whole
  /// token are held back. Throws std::length_error for a token of 2 GiB.
  std::vector<std::string> feed(std::span<const std::uint8_t> block, bool last, const std::function<void()>& tick);

 private:
  std::vector<std::size_t> cut(std::span<const std::uint8_t> text) const;

  std::shared_ptr<const PhraseBook> book_;
  int workers_;
  std::size_t chunk_bytes_;
  std::vector<std::uint8_t> carry_;
  std::int32_t open_ = PhraseBook::kNone;  // the last token of what was given out, while it may start a pair
};

}  // namespace fastembed::train
