// Words that a corpus is counted against: they stay in its vocabulary however rare they are in it, and bring counts of
// their own. Empty when a vocabulary is made from nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "train/token_table.hpp"

namespace fastembed::train {

class KnownWords {
 public:
  KnownWords() = default;
  /// `words` one after the other, each up to its entry of `ends`; without repetition. As many `counts`, none negative.
  KnownWords(std::string words, std::vector<std::size_t> ends, std::vector<std::int64_t> counts);
  KnownWords(const KnownWords&) = delete;  // the index points into the words
  KnownWords& operator=(const KnownWords&) = delete;

  [[nodiscard]] std::size_t size() const noexcept { return counts_.size(); }
  [[nodiscard]] std::string_view word(std::size_t i) const noexcept {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(words_).substr(begin, ends_[i] - begin);
  }
  [[nodiscard]] std::uint64_t count(std::size_t i) const noexcept { return static_cast<std::uint64_t>(counts_[i]); }

  /// The index of a token, -1 if it is not known. `integers`: the token is an integer, its word the decimal number.
  [[nodiscard]] std::int64_t find(const TokenTable::Slot& slot, bool integers) const;

 private:
  std::string words_;
  std::vector<std::size_t> ends_;
  std::vector<std::int64_t> counts_;
  std::unordered_map<std::string_view, std::int64_t> index_;
};

}  // namespace fastembed::train
