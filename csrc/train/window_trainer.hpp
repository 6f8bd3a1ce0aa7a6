// Skip-gram and CBOW with negative sampling, one center at a time: walks the corpus, draws what is random, prefetches
// rows and calls the window kernels. Hogwild over workers (Niu, Recht, Re & Wright, NIPS 2011). No SIMD, no Python.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "support/thread_pool.hpp"
#include "train/model.hpp"
#include "train/samplers.hpp"

namespace fastembed::train {

enum class Architecture { kSkipGram, kCbow };

/// Who shares negatives: the positions of a tile of text (tile_worker.hpp; skip-gram); the context words of one center,
/// picked from a pool that a stretch of text shares; or nobody, as in word2vec.c.
enum class NegativeSharing { kTile, kWindow, kPair };

struct TrainConfig {
  Architecture architecture = Architecture::kSkipGram;
  NegativeSharing negative_sharing = NegativeSharing::kWindow;
  // The same bits for any number of workers: with kTile in rounds (tile_rounds.hpp), else by one worker alone.
  bool deterministic = false;
  bool cbow_mean = true;
  bool shrink_windows = true;
  std::uint32_t window = 5;
  std::uint32_t negative = 5;
  std::uint32_t epochs = 5;
  double alpha = 0.025;
  double min_alpha = 1e-4;
  double sample = 1e-3;
  double ns_exponent = 0.75;
  std::uint64_t seed = 1;
  std::int64_t max_sentence_length = 10'000;
};

/// Token ids of sentence s are ids[offsets[s] .. offsets[s + 1]). The caller keeps the memory alive and in range.
struct CorpusView {
  std::span<const std::int32_t> ids;
  std::span<const std::int64_t> offsets;
  std::span<const std::int64_t> counts;  // how often each word occurs in `ids`: decides subsampling
};

struct EpochTotals {
  std::int64_t token_count = 0;     // raw tokens passed, before subsampling
  std::int64_t center_count = 0;    // trained after subsampling
  std::int64_t positive_count = 0;  // positive pairs
  double loss = 0;                  // summed negative log-likelihood of the positive pairs and their negatives
};

/// From where to where a call of run_epoch goes. An epoch pauses between chunks of text only, with every chunk before
/// the pause whole: totals.token_count is then the position at which it goes on.
struct EpochPart {
  EpochTotals start;  // of what earlier parts have trained
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

class WindowTrainer {
 public:
  /// `counts` decide how often a word is drawn as a negative; the caller keeps them alive as well.
  WindowTrainer(Model& model, CorpusView corpus, std::span<const std::int64_t> counts, const TrainConfig& config);

  /// Trains epoch `epoch` (from 0), or the part of it that begins at part.start and pauses soon after part.deadline or
  /// a call of `pause`. `tick` is called on this thread as run_workers says and may read `progress`. With one worker,
  /// or any number in deterministic training, parts give the same bits as the whole, in vectors and totals. Throws
  /// std::invalid_argument when part.start is no place where an epoch pauses.
  EpochTotals run_epoch(std::uint32_t epoch, int workers, const std::function<void()>& tick, const EpochPart& part);

  /// Ends the epoch under way as soon as every worker has finished its chunk; from any thread.
  void pause() noexcept { pausing_.store(true); }

  /// Totals so far of the epoch under way, from any thread.
  [[nodiscard]] EpochTotals progress() const;

  /// How many workers at most can be busy in deterministic training: tiles of a round, 1 without tiles. Else 0.
  [[nodiscard]] std::size_t round_tiles() const noexcept { return round_tiles_; }

  /// How many workers train tiles at most when not deterministic: fewer than there are where a few words make up the
  /// text. 0 without tiles, which has no such limit.
  [[nodiscard]] int most_workers() const noexcept { return most_workers_; }

  /// The learning rate at raw token `position` of `epoch`: linear decay by raw words, never below min_alpha.
  [[nodiscard]] float learning_rate_at(std::uint32_t epoch, std::int64_t position) const noexcept;

 private:
  friend class WindowWorker;
  friend class TileWorker;
  friend class TileRounds;

  // A run of whole pieces (a piece is a sentence, or a part of one longer than max_sentence_length).
  struct Chunk {
    std::int64_t begin;
    std::int64_t end;
    std::int64_t sentence;  // the sentence that holds `begin`
  };

  // One cache line a worker, so that publishing never slows another worker down.
  struct alignas(64) Published {
    std::atomic<std::int64_t> token_count{0};
    std::atomic<std::int64_t> center_count{0};
    std::atomic<std::int64_t> positive_count{0};
    std::atomic<double> loss{0};
  };

  void make_chunks();
  void divide_noise(int workers);
  [[nodiscard]] const AliasTable& noise_of(const Chunk& chunk, std::uint32_t epoch) const noexcept;
  [[nodiscard]] std::size_t chunk_at(std::int64_t position) const;
  EpochTotals run_rounds(std::uint32_t epoch, int workers, const std::function<void()>& tick, const EpochPart& part);
  void publish(const EpochTotals& totals, int worker = 0) noexcept;

  template <class Worker>
  void run_worker(Worker& worker, int number, const support::StopFlag& stop,
                  std::chrono::steady_clock::time_point deadline);

  Model& model_;
  CorpusView corpus_;
  TrainConfig config_;
  std::span<const std::int64_t> counts_;
  AliasTable negatives_;
  std::vector<AliasTable> noise_parts_;  // "pair": what several workers draw from in turn
  std::vector<std::uint32_t> keep_thresholds_;
  std::vector<Chunk> chunks_;
  std::size_t round_tiles_ = 0;
  int most_workers_ = 0;
  std::atomic<std::size_t> next_chunk_{0};
  std::atomic<bool> pausing_{false};
  std::unique_ptr<Published[]> published_;
  int published_count_ = 0;
};

}  // namespace fastembed::train
