// Counts the pairs of neighbouring words in an encoded corpus and keeps those that are phrases by word2phrase's score.
// Knows ids only, no words. Called by the bindings.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace fastembed::train {

struct PhraseOptions {
  std::uint64_t train_words = 0;  // all tokens of the corpus
  std::uint64_t min_count = 5;    // subtracted from a pair's count
  double threshold = 100.0;       // at least 0; a phrase scores above it
  int workers = 1;
  std::uint64_t memory_budget = std::uint64_t{2} << 30;  // bytes of pair tables
  std::size_t chunk_tokens = std::size_t{1} << 16;       // one worker's piece of work
};

struct Phrase {
  double score;
  std::int64_t count;
  std::int32_t first;
  std::int32_t second;
};

/// `counts` are the words' in descending order, by id. A pair lies within a sentence, ids[offsets[s] .. offsets[s+1]).
/// The phrases are sorted by score, then count, both descending, then ids; the same for any number of workers and any
/// budget. Throws std::invalid_argument for offsets that are no ascending positions in `ids`.
std::vector<Phrase> count_phrases(std::span<const std::int32_t> ids, std::span<const std::int64_t> offsets,
                                  std::span<const std::int64_t> counts, const PhraseOptions& options,
                                  const std::function<void()>& tick);

}  // namespace fastembed::train
