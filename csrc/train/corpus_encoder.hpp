// Reads a corpus once, with all workers: tokens to int32 ids, counts, sentence borders. Each worker has a table of its
// own; `finish` merges them. What comes out does not depend on the number of workers: pieces of the corpus are cut at
// fixed places, vocabularies are compared only at the end of a round of a fixed amount of text, words are sorted.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/chunk_encoder.hpp"
#include "train/id_store.hpp"
#include "train/shared_vocabulary.hpp"

namespace fastembed::train {

struct CorpusOptions {
  int workers = 1;
  Utf8Errors errors = Utf8Errors::kStrict;
  std::uint64_t max_vocab_size = 40'000'000;             // distinct tokens held before the rarest are pruned
  std::uint64_t memory_budget = std::uint64_t{2} << 30;  // bytes of encoded ids held in memory
  std::string spool_directory = "/tmp";
  std::size_t chunk_bytes = std::size_t{1} << 20;  // one worker's piece of work; 4 at least
  std::size_t chunks_per_round = 64;               // pieces between two looks at the vocabulary's size
  bool break_at_dropped = false;  // a word that is left out ends the sentence, and leaves no neighbours
};

/// Called on the calling thread about every 50 ms; may throw to end the work.
using Tick = std::function<void()>;

struct CorpusStats {
  std::uint64_t raw_tokens = 0;  // dropped ones included
  std::uint64_t kept_tokens = 0;
  std::uint64_t bytes = 0;            // of text; 0 for tokens that were never a text
  std::uint64_t distinct_tokens = 0;  // pruned ones counted each time
  std::uint64_t long_tokens = 0;      // dropped for their length
  std::uint64_t repaired_tokens = 0;
  std::uint64_t prune_count = 0;  // how often the vocabulary outgrew max_vocab_size
  std::uint64_t pruned_words = 0;
  std::uint64_t effective_min_count = 0;
  std::uint64_t spooled_bytes = 0;
};

struct EncodedCorpus {
  std::string words;                     // one after the other
  std::vector<std::uint64_t> word_ends;  // positions in `words`
  std::vector<std::int64_t> counts;      // descending; equal counts by the words' bytes
  PageRange ids;                         // std::int32_t, id_count of them
  PageRange offsets;                     // std::int64_t, sentence_count + 1 of them
  std::size_t id_count = 0;
  std::size_t sentence_count = 0;
  CorpusStats stats;
};

/// Not for use from two threads at once. After an exception the encoder is in no state to go on and says so.
class CorpusEncoder {
 public:
  explicit CorpusEncoder(CorpusOptions options);
  ~CorpusEncoder();
  CorpusEncoder(const CorpusEncoder&) = delete;
  CorpusEncoder& operator=(const CorpusEncoder&) = delete;

  /// Regular files, one after the other. Throws std::system_error naming the path, InvalidUtf8, or
  /// std::invalid_argument for a token that is too long.
  void add_files(std::span<const std::string> paths, const Tick& tick);
  /// The next bytes of a source that is read in blocks; `last` ends it.
  void add_bytes(std::span<const std::uint8_t> block, const std::string& source, bool last, const Tick& tick);
  /// Whole sentences of tokens. `sentence_ends` are ascending positions in `tokens`.
  void add_tokens(std::span<const std::string_view> tokens, std::span<const std::uint64_t> sentence_ends,
                  const Tick& tick);
  /// Tokens that are integers; their words will be the decimal numbers. Not to be mixed with the others. `offsets`
  /// starts at 0, does not descend and ends at ids.size(): std::invalid_argument otherwise.
  template <class Integer>
  void add_integers(std::span<const Integer> ids, std::span<const std::int64_t> offsets, const Tick& tick);

  /// Drops words with a count below min_count, and then, if more than max_final_vocab are left, all words that are as
  /// rare as the first one beyond them. Known words are never dropped; their counts are added. Ends the encoder's life.
  EncodedCorpus finish(std::uint64_t min_count, std::uint64_t max_final_vocab, const KnownWords& known,
                       const Tick& tick);

  /// Bytes of text encoded so far; from any thread.
  [[nodiscard]] std::uint64_t bytes_done() const noexcept { return bytes_done_.load(std::memory_order_relaxed); }
  /// Sentences that add_tokens was given so far; only between calls.
  [[nodiscard]] std::uint64_t sentences_given() const noexcept { return sentences_given_; }

 private:
  enum class State { kReady, kBusy, kFailed, kFinished };
  class Call;  // takes the encoder for the time of one call

  using EncodeChunk = std::function<void(ChunkEncoder&, std::size_t, const support::StopFlag&)>;
  void run_round(std::size_t chunk_count, const EncodeChunk& encode, const Tick& tick);
  void run_rounds(std::size_t chunk_count, const EncodeChunk& encode, const Tick& tick);
  void store_segment(Segment& segment, int worker);
  void encode_range(const TextChunk& whole, const Tick& tick);
  void encode_here(const TextChunk& chunk);
  void carry(std::span<const std::uint8_t> bytes);

  void for_each_segment(const std::function<void(std::size_t)>& task, const Tick& tick);
  std::vector<SharedVocabulary::IdMap> merge_tables(const Tick& tick);
  void rename_segments(const std::vector<SharedVocabulary::IdMap>& new_ids, const Tick& tick);
  void bound_vocabulary(const Tick& tick);
  EncodedCorpus build(std::uint64_t min_count, std::uint64_t max_final_vocab, const KnownWords& known,
                      const Tick& tick);
  void gather(EncodedCorpus& result, const Tick& tick);

  CorpusOptions options_;
  std::atomic<State> state_{State::kReady};
  std::vector<std::unique_ptr<ChunkEncoder>> workers_;
  SharedVocabulary vocabulary_;
  std::vector<Segment> segments_;
  IdStore store_;
  bool has_integers_ = false;
  bool has_texts_ = false;
  std::uint64_t sentences_given_ = 0;  // by add_tokens
  std::uint64_t min_reduce_ = 1;
  CorpusStats stats_;
  std::atomic<std::uint64_t> bytes_done_{0};
  // The source that add_bytes is in the middle of.
  std::vector<std::uint8_t> carry_;  // the start of a token cut off at the last block's end
  std::uint64_t carry_offset_ = 0;
  std::uint64_t stream_offset_ = 0;
  bool in_stream_ = false;
};

}  // namespace fastembed::train
