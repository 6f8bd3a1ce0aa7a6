#include "train/known_words.hpp"

#include <charconv>
#include <stdexcept>
#include <utility>

namespace fastembed::train {

KnownWords::KnownWords(std::string words, std::vector<std::size_t> ends, std::vector<std::int64_t> counts)
    : words_(std::move(words)), ends_(std::move(ends)), counts_(std::move(counts)) {
  if (ends_.size() != counts_.size()) {
    throw std::invalid_argument(std::to_string(ends_.size()) + " known words but " + std::to_string(counts_.size()) +
                                " counts of them");
  }
  index_.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) {
    if (counts_[i] < 0) throw std::invalid_argument("the count of a known word is negative");
    if (!index_.emplace(word(i), static_cast<std::int64_t>(i)).second) {
      throw std::invalid_argument("a known word is given twice");
    }
  }
}

std::int64_t KnownWords::find(const TokenTable::Slot& slot, bool integers) const {
  if (index_.empty()) return -1;
  char digits[20];  // of 2^64 - 1
  std::string_view word = slot.token();
  if (integers) {
    const char* end = std::to_chars(digits, digits + sizeof digits, slot.low).ptr;
    word = {digits, static_cast<std::size_t>(end - digits)};
  }
  const auto found = index_.find(word);
  return found == index_.end() ? -1 : found->second;
}

}  // namespace fastembed::train
