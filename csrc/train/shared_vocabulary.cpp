#include "train/shared_vocabulary.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "train/sorted_words.hpp"

namespace fastembed::train {

std::size_t SharedVocabulary::size() const noexcept {
  std::size_t total = 0;
  for (const auto& table : tables_) total += table.size();
  return total;
}

std::size_t SharedVocabulary::id_limit() const noexcept {
  std::size_t largest = 0;
  for (const auto& table : tables_) largest = std::max(largest, table.size());
  return largest * (has_one_table_ ? 1 : kPartitions);
}

void SharedVocabulary::for_each_partition(const std::function<void(int, const support::StopFlag&)>& task,
                                          const Tick& tick) const {
  std::atomic<int> next{0};
  support::run_workers(
      std::min(workers_, kPartitions),
      [&](int, const support::StopFlag& stop) {
        for (int partition = next++; partition < kPartitions && !stop.load(); partition = next++) task(partition, stop);
      },
      tick);
}

std::vector<TokenTable> SharedVocabulary::empty_tables() const {
  std::vector<TokenTable> tables;
  if (has_one_table_) {
    tables.emplace_back();
  } else {
    for (int i = 0; i < kPartitions; ++i) tables.emplace_back(kPartitionBits);
  }
  return tables;
}

// Tokens arrive in the order of their hashes: without room made beforehand they would crowd at a table's front.
std::vector<SharedVocabulary::IdMap> SharedVocabulary::absorb(std::span<TokenTable* const> tables, const Tick& tick) {
  std::vector<IdMap> maps;
  for (const TokenTable* table : tables) maps.emplace_back(table->size());
  if (tables_.empty() && has_one_table_ && tables.size() == 1) {
    std::iota(maps.front().begin(), maps.front().end(), 0);
    tables_.push_back(std::exchange(*tables.front(), TokenTable()));
    return maps;
  }
  if (tables_.empty()) tables_ = empty_tables();
  if (has_one_table_) {
    for (const TokenTable* table : tables) tables_.front().reserve(tables_.front().size() + table->size());
  }
  for_each_partition(
      [&](int partition, const support::StopFlag&) {
        TokenTable& target = tables_[table_index(partition)];
        for (std::size_t t = 0; t < tables.size(); ++t) {
          if (!has_one_table_) target.reserve(target.size() + tables[t]->size() / kPartitions * 5 / 4 + 64);
          tables[t]->for_each_in_partition(
              static_cast<std::uint32_t>(partition), kPartitionBits, [&](const TokenTable::Slot& slot) {
                TokenTable::Slot& own = target.find(slot.key());
                std::int32_t& new_id = maps[t][static_cast<std::size_t>(slot.id)];
                if (own.count != 0) {
                  own.count += slot.count;
                  new_id = shared_id(own.id, partition);
                } else {
                  new_id = shared_id(target.insert(own, slot.key(), slot.count), partition);
                }
              });
        }
      },
      tick);
  for (TokenTable* table : tables) *table = TokenTable();
  if (id_limit() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw std::length_error("more distinct tokens than 31-bit ids; set max_vocab_size lower");
  }
  return maps;
}

SharedVocabulary::IdMap SharedVocabulary::prune(std::uint64_t max_count, const Tick& tick) {
  std::vector<std::size_t> survivors(kPartitions);
  for_each_partition(
      [&](int partition, const support::StopFlag&) {
        std::size_t& count = survivors[static_cast<std::size_t>(partition)];
        for_each_token(partition, [&](const TokenTable::Slot& slot) { count += slot.count > max_count ? 1 : 0; });
      },
      tick);
  std::vector<TokenTable> kept = empty_tables();
  if (has_one_table_) kept.front().reserve(std::accumulate(survivors.begin(), survivors.end(), std::size_t{0}));
  IdMap new_ids(id_limit(), -1);
  for_each_partition(
      [&](int partition, const support::StopFlag&) {
        TokenTable& target = kept[table_index(partition)];
        if (!has_one_table_) target.reserve(survivors[static_cast<std::size_t>(partition)]);
        for_each_token(partition, [&](const TokenTable::Slot& slot) {
          if (slot.count <= max_count) return;
          const std::int32_t id = target.insert(target.find(slot.key()), slot.key(), slot.count);
          new_ids[static_cast<std::size_t>(shared_id(slot.id, partition))] = shared_id(id, partition);
        });
        if (!has_one_table_) tables_[table_index(partition)] = std::exchange(target, TokenTable());
      },
      tick);
  if (has_one_table_) tables_ = std::move(kept);
  return new_ids;
}

// The least count that survives of words that are not known. Like gensim's: words as frequent as the first one beyond
// max_new_words go too.
std::uint64_t SharedVocabulary::count_limit(std::uint64_t min_count, std::uint64_t max_new_words, bool integers,
                                            const KnownWords& known, const Tick& tick) const {
  std::vector<std::vector<std::uint64_t>> counts(kPartitions);
  for_each_partition(
      [&](int partition, const support::StopFlag&) {
        for_each_token(partition, [&](const TokenTable::Slot& slot) {
          if (slot.count < min_count || known.find(slot, integers) >= 0) return;
          counts[static_cast<std::size_t>(partition)].push_back(slot.count);
        });
      },
      tick);
  std::vector<std::uint64_t> all;
  for (const auto& part : counts) all.insert(all.end(), part.begin(), part.end());
  if (all.size() <= max_new_words) return min_count;
  const auto first_beyond = all.begin() + static_cast<std::ptrdiff_t>(max_new_words);
  std::nth_element(all.begin(), first_beyond, all.end(), std::greater<>());
  return std::max(min_count, *first_beyond + 1);
}

std::vector<std::vector<SharedVocabulary::Kept>> SharedVocabulary::keep(std::uint64_t min_count, bool integers,
                                                                        const KnownWords& known,
                                                                        std::vector<std::uint8_t>& seen,
                                                                        const Tick& tick) const {
  std::vector<std::vector<Kept>> kept(kPartitions);
  seen.assign(known.size(), 0);
  for_each_partition(
      [&](int partition, const support::StopFlag&) {
        auto& part = kept[static_cast<std::size_t>(partition)];
        for_each_token(partition, [&](const TokenTable::Slot& slot) {
          const std::int64_t found = known.find(slot, integers);
          if (found >= 0) {
            seen[static_cast<std::size_t>(found)] = 1;
            part.push_back({&slot, known.count(static_cast<std::size_t>(found))});
          } else if (slot.count >= min_count) {
            part.push_back({&slot, 0});
          }
        });
      },
      tick);
  return kept;
}

SharedVocabulary::Selection SharedVocabulary::select(std::uint64_t min_count, std::uint64_t max_final_vocab,
                                                     bool integers, const KnownWords& known, const Tick& tick) const {
  Selection selection;
  selection.effective_min_count = std::max<std::uint64_t>(min_count, 1);
  if (tables_.empty()) return selection;
  const std::uint64_t max_new_words = max_final_vocab - std::min<std::uint64_t>(max_final_vocab, known.size());
  if (max_new_words < size()) {
    selection.effective_min_count = count_limit(min_count, max_new_words, integers, known, tick);
  }
  std::vector<std::uint8_t> seen;
  const auto kept = keep(selection.effective_min_count, integers, known, seen, tick);
  std::size_t total = known.size();
  for (const auto& part : kept) total += part.size();

  constexpr std::size_t kDigits = 20;  // of 2^64 - 1
  if (integers) selection.numbers = std::make_unique_for_overwrite<char[]>(total * kDigits);
  std::vector<SortedWord> words;
  words.reserve(total);
  for (int partition = 0; partition < kPartitions; ++partition) {
    for (const auto& [slot, known_count] : kept[static_cast<std::size_t>(partition)]) {
      std::string_view word = slot->token();
      if (integers) {
        char* digits = selection.numbers.get() + words.size() * kDigits;
        word = {digits, static_cast<std::size_t>(std::to_chars(digits, digits + kDigits, slot->low).ptr - digits)};
      }
      words.emplace_back(word, slot->count + known_count, shared_id(slot->id, partition));
    }
  }
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (seen[i] == 0) words.emplace_back(known.word(i), known.count(i), -1);
  }
  sort_words(words, workers_, tick);

  selection.final_ids.assign(id_limit(), -1);
  for (std::size_t rank = 0; rank < words.size(); ++rank) {
    selection.words.push_back(words[rank].word());
    selection.counts.push_back(static_cast<std::int64_t>(words[rank].count()));
    const std::int32_t id = words[rank].id();
    if (id >= 0) selection.final_ids[static_cast<std::size_t>(id)] = static_cast<std::int32_t>(rank);
  }
  return selection;
}

}  // namespace fastembed::train
