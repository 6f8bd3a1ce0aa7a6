#include "train/phrase_counter.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <tuple>

#include "support/thread_pool.hpp"
#include "train/offsets.hpp"
#include "train/pair_table.hpp"

namespace fastembed::train {
namespace {

constexpr int kPartitionBits = 8;
constexpr std::size_t kPartitions = std::size_t{1} << kPartitionBits;
constexpr std::size_t kMaxRoundTokens = std::size_t{1} << 25;  // 256 MiB of pairs at most
constexpr std::size_t kTableBytesPerPair = 64;                 // at most, a table being resized left out
constexpr std::size_t kPrefetchDistance = 12;

std::size_t partition_of(std::uint64_t hash) noexcept { return hash >> (64 - kPartitionBits); }

// The pairs that start in one stretch of the corpus, ordered by partition.
struct ChunkPairs {
  std::unique_ptr<PairKey[]> pairs;
  std::array<std::uint32_t, kPartitions + 1> begins{};
};

// Ids [begin, end).
struct IdRange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  [[nodiscard]] bool holds(std::int32_t id) const noexcept {
    return static_cast<std::uint32_t>(id) - begin < end - begin;
  }
};

class PhraseCounter {
 public:
  PhraseCounter(std::span<const std::int32_t> ids, std::span<const std::int64_t> offsets,
                std::span<const std::int64_t> counts, const PhraseOptions& options, const std::function<void()>& tick)
      : ids_(ids), offsets_(offsets), counts_(counts), options_(options), tick_(tick) {
    active_ = active_range();
    chunk_tokens_ = std::clamp<std::size_t>(options.chunk_tokens, 1, std::size_t{1} << 24);
    const std::uint64_t round_tokens = std::min<std::uint64_t>(
        {kMaxRoundTokens, options.memory_budget / kTableBytesPerPair, ids.size() + chunk_tokens_});
    chunks_.resize(std::max<std::size_t>(1, round_tokens / chunk_tokens_));
  }

  std::vector<Phrase> run() {
    std::vector<Phrase> phrases;
    if (active_.begin == active_.end) return phrases;
    while (first_partition_ < kPartitions) {
      end_partition_ = kPartitions;
      tables_.clear();
      for (std::size_t i = 0; i < kPartitions; ++i) tables_.emplace_back(kPartitionBits);
      count_all();
      collect(phrases);
      first_partition_ = end_partition_;
    }
    std::sort(phrases.begin(), phrases.end(), [](const Phrase& a, const Phrase& b) {
      return std::tuple(-a.score, -a.count, a.first, a.second) < std::tuple(-b.score, -b.count, b.first, b.second);
    });
    return phrases;
  }

 private:
  // (count - min_count) / count(a) / count(b) * train_words, rounded once while the products are below 2^53.
  [[nodiscard]] double score(std::int64_t count, std::int64_t first_count, std::int64_t second_count) const noexcept {
    const double above = static_cast<double>(count) - static_cast<double>(options_.min_count);
    return above * static_cast<double>(options_.train_words) /
           (static_cast<double>(first_count) * static_cast<double>(second_count));
  }

  // A pair occurs at most as often as either word, so the score of a pair with a word of count c is at most
  // score(c, c, c): words that are too rare or too frequent for that are in no phrase. That is quadratic in c, and so
  // the others are neighbours in the order of counts. The margin covers rounding.
  [[nodiscard]] IdRange active_range() const noexcept {
    const auto can_be_in_phrase = [&](std::int64_t count) {
      return count > static_cast<std::int64_t>(options_.min_count) &&
             score(count, count, count) * (1.0 + 1e-9) >= options_.threshold;
    };
    std::size_t begin = 0;
    while (begin < counts_.size() && !can_be_in_phrase(counts_[begin])) ++begin;
    std::size_t end = counts_.size();
    while (end > begin && !can_be_in_phrase(counts_[end - 1])) --end;
    return {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
  }

  void for_each(std::size_t count, const std::function<void(std::size_t, const support::StopFlag&)>& task) const {
    if (count == 0) return;
    std::atomic<std::size_t> next{0};
    support::run_workers(
        static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(options_.workers), count)),
        [&](int, const support::StopFlag& stop) {
          for (std::size_t i = next++; i < count && !stop.load(); i = next++) task(i, stop);
        },
        tick_);
  }

  // One pass over the ids for the partitions in work. Rounds bound the memory of the pairs, and at their ends, places
  // that do not depend on the workers, partitions are put off when the tables outgrow the budget.
  void count_all() {
    const std::size_t round_tokens = chunks_.size() * chunk_tokens_;
    for (std::size_t begin = 0; begin < ids_.size(); begin += round_tokens) {
      const std::size_t tokens = std::min(round_tokens, ids_.size() - begin);
      const std::size_t chunk_count = (tokens + chunk_tokens_ - 1) / chunk_tokens_;
      for_each(chunk_count, [&](std::size_t i, const support::StopFlag&) {
        const std::size_t from = begin + i * chunk_tokens_;
        gather_pairs(from, std::min(from + chunk_tokens_, ids_.size()), chunks_[i]);
      });
      for_each(end_partition_ - first_partition_, [&](std::size_t i, const support::StopFlag& stop) {
        count_partition(first_partition_ + i, std::span(chunks_).first(chunk_count), stop);
      });
      put_off_partitions();
    }
    for (ChunkPairs& chunk : chunks_) chunk.pairs.reset();
  }

  // Pairs whose first word is in [begin, end).
  void gather_pairs(std::size_t begin, std::size_t end, ChunkPairs& chunk) const {
    const auto found = std::make_unique_for_overwrite<PairKey[]>(end - begin);
    std::size_t found_count = 0;
    std::array<std::uint32_t, kPartitions + 1> ends{};
    const std::size_t partitions = end_partition_ - first_partition_;
    auto next_end = std::upper_bound(offsets_.begin(), offsets_.end(), static_cast<std::int64_t>(begin));
    for (std::size_t at = begin; at < end; ++next_end) {
      const auto sentence_end = static_cast<std::size_t>(*next_end);
      const std::size_t last = std::min(end, std::max(sentence_end, at + 1) - 1);
      for (bool before = active_.holds(ids_[at]); at < last; ++at) {
        const bool now = active_.holds(ids_[at + 1]);
        const bool both = before && now;
        before = now;
        if (!both) continue;
        const PairKey key = make_pair_key(ids_[at], ids_[at + 1]);
        const std::size_t partition = partition_of(hash_pair(key));
        if (partition - first_partition_ >= partitions) continue;
        found[found_count++] = key;
        ++ends[partition];
      }
      at = std::max(at, sentence_end);
    }
    std::uint32_t total = 0;
    for (std::size_t i = 0; i <= kPartitions; ++i) {
      chunk.begins[i] = total;
      total += ends[i];
      ends[i] = chunk.begins[i];
    }
    chunk.pairs = std::make_unique_for_overwrite<PairKey[]>(found_count);
    for (std::size_t i = 0; i < found_count; ++i) chunk.pairs[ends[partition_of(hash_pair(found[i]))]++] = found[i];
  }

  void count_partition(std::size_t partition, std::span<const ChunkPairs> chunks, const support::StopFlag& stop) {
    PairTable& table = tables_[partition];
    for (const ChunkPairs& chunk : chunks) {
      if (stop.load(std::memory_order_relaxed)) return;
      const std::size_t end = chunk.begins[partition + 1];
      for (std::size_t i = chunk.begins[partition]; i < end; ++i) {
        if (i + kPrefetchDistance < end) table.prefetch(hash_pair(chunk.pairs[i + kPrefetchDistance]));
        table.add(chunk.pairs[i], hash_pair(chunk.pairs[i]));
      }
    }
  }

  void put_off_partitions() {
    const auto bytes = [&] {
      std::uint64_t total = 0;
      for (const PairTable& table : tables_) total += table.memory_bytes();
      return total;
    };
    while (end_partition_ - first_partition_ > 1 && bytes() > options_.memory_budget) {
      const std::size_t middle = first_partition_ + (end_partition_ - first_partition_) / 2;
      for (std::size_t i = middle; i < end_partition_; ++i) tables_[i] = PairTable(kPartitionBits);
      end_partition_ = middle;
    }
  }

  void collect(std::vector<Phrase>& phrases) const {
    std::vector<std::vector<Phrase>> found(kPartitions);
    for_each(end_partition_ - first_partition_, [&](std::size_t i, const support::StopFlag&) {
      tables_[first_partition_ + i].for_each([&](PairKey key, std::uint64_t pair_count) {
        const auto count = static_cast<std::int64_t>(pair_count);
        const std::int32_t first = first_of(key);
        const std::int32_t second = second_of(key);
        const double value =
            score(count, counts_[static_cast<std::size_t>(first)], counts_[static_cast<std::size_t>(second)]);
        if (value > options_.threshold) found[i].push_back({value, count, first, second});
      });
    });
    for (const auto& part : found) phrases.insert(phrases.end(), part.begin(), part.end());
  }

  std::span<const std::int32_t> ids_;
  std::span<const std::int64_t> offsets_;
  std::span<const std::int64_t> counts_;
  PhraseOptions options_;
  const std::function<void()>& tick_;
  IdRange active_;
  std::size_t chunk_tokens_ = 0;
  std::vector<ChunkPairs> chunks_;  // of the present round
  std::vector<PairTable> tables_;   // one a partition
  std::size_t first_partition_ = 0;
  std::size_t end_partition_ = 0;
};

}  // namespace

std::vector<Phrase> count_phrases(std::span<const std::int32_t> ids, std::span<const std::int64_t> offsets,
                                  std::span<const std::int64_t> counts, const PhraseOptions& options,
                                  const std::function<void()>& tick) {
  check_offsets(offsets, ids.size());
  if (options.workers < 1) throw std::invalid_argument("workers must be at least 1");
  if (!(options.threshold >= 0.0)) throw std::invalid_argument("threshold must be at least 0");
  return PhraseCounter(ids, offsets, counts, options, tick).run();
}

}  // namespace fastembed::train
