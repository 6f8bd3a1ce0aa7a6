// The vocabularies of all workers as one, in partitions by the hash's top bits so that merging, pruning and collecting
// run in parallel without locks. Each has a table of its own; with one worker they share one, which is the worker's
// own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "support/thread_pool.hpp"
#include "train/known_words.hpp"
#include "train/token_table.hpp"

namespace fastembed::train {

class SharedVocabulary {
 public:
  using Tick = std::function<void()>;
  /// Per table, the new id of each old one; -1: gone.
  using IdMap = std::vector<std::int32_t>;

  explicit SharedVocabulary(int workers) : workers_(workers), has_one_table_(workers == 1) {}

  [[nodiscard]] std::size_t size() const noexcept;
  /// Ids are below this; not all of them are in use.
  [[nodiscard]] std::size_t id_limit() const noexcept;

  /// Adds the tables' tokens and counts, and leaves the tables empty. Returns an IdMap for each.
  std::vector<IdMap> absorb(std::span<TokenTable* const> tables, const Tick& tick);

  /// Removes every token with a count of at most `max_count`. Returns the new ids of the old.
  IdMap prune(std::uint64_t max_count, const Tick& tick);

  /// Words to be kept, in their final order.
  struct Selection {
    std::vector<std::string_view> words;  // into the vocabulary, the known words, or `numbers`
    std::vector<std::int64_t> counts;     // of known words: what they brought along included
    IdMap final_ids;
    std::uint64_t effective_min_count = 0;
    std::unique_ptr<char[]> numbers;  // the decimal forms, when tokens are integers
  };
  /// All known words are kept, seen or not, and others as far as min_count and max_final_vocab allow.
  Selection select(std::uint64_t min_count, std::uint64_t max_final_vocab, bool integers, const KnownWords& known,
                   const Tick& tick) const;

 private:
  static constexpr int kPartitionBits = 6;
  static constexpr int kPartitions = 1 << kPartitionBits;

  [[nodiscard]] std::size_t table_index(int partition) const noexcept {
    return has_one_table_ ? 0 : static_cast<std::size_t>(partition);
  }
  [[nodiscard]] std::int32_t shared_id(std::int32_t id, int partition) const noexcept {
    return has_one_table_ ? id : id * kPartitions + partition;
  }
  [[nodiscard]] std::vector<TokenTable> empty_tables() const;
  template <class Visit>
  void for_each_token(int partition, const Visit& visit) const {
    tables_[table_index(partition)].for_each_in_partition(static_cast<std::uint32_t>(partition), kPartitionBits, visit);
  }
  /// Runs task(partition) for all partitions on all workers.
  void for_each_partition(const std::function<void(int, const support::StopFlag&)>& task, const Tick& tick) const;
  std::uint64_t count_limit(std::uint64_t min_count, std::uint64_t max_new_words, bool integers,
                            const KnownWords& known, const Tick& tick) const;
  // A word to be kept, and the count that it brought along.
  struct Kept {
    const TokenTable::Slot* slot;
    std::uint64_t known_count;
  };
  /// Marks the known words that occur in `seen`.
  std::vector<std::vector<Kept>> keep(std::uint64_t min_count, bool integers, const KnownWords& known,
                                      std::vector<std::uint8_t>& seen, const Tick& tick) const;

  int workers_;
  bool has_one_table_;
  std::vector<TokenTable> tables_;  // none before the first absorb
};

}  // namespace fastembed::train
