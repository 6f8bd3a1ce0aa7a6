// Sorts the vocabulary: most frequent words first, equally frequent ones by their bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace fastembed::train {

/// A word with what its order depends on. The bytes stay where they are.
class SortedWord {
 public:
  SortedWord(std::string_view word, std::uint64_t count, std::int32_t id) noexcept
      : count_(count), bytes_(word.data()), size_(static_cast<std::uint32_t>(word.size())), id_(id) {
    // The first 8 bytes as a number that compares as they do.
    for (std::size_t i = 0; i < 8; ++i) {
      prefix_ = (prefix_ << 8) | (i < word.size() ? static_cast<std::uint8_t>(word[i]) : 0U);
    }
  }
  [[nodiscard]] std::string_view word() const noexcept { return {bytes_, size_}; }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::int32_t id() const noexcept { return id_; }

  friend bool operator<(const SortedWord& a, const SortedWord& b) noexcept {
    if (a.count_ != b.count_) return a.count_ > b.count_;
    if (a.prefix_ != b.prefix_) return a.prefix_ < b.prefix_;
    return a.word() < b.word();
  }

 private:
  std::uint64_t count_;
  std::uint64_t prefix_ = 0;
  const char* bytes_;
  std::uint32_t size_;
  std::int32_t id_;
};

/// Sorts with all workers. Ends early, with the exception of `tick`, when that throws.
void sort_words(std::vector<SortedWord>& words, int workers, const std::function<void()>& tick);

}  // namespace fastembed::train
