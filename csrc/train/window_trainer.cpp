#include "train/window_trainer.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/thread_pool.hpp"
#include "train/tile_rounds.hpp"
#include "train/tile_worker.hpp"
#include "train/window_worker.hpp"

namespace fastembed::train {
namespace {

constexpr std::int64_t kChunkTokens = 16'384;

// With four parts for four workers SimLex-999 was 0.009 lower (standard error 0.003).
constexpr std::size_t kMostNoiseParts = 2;

// With fewer words than that a part has too few to be the noise of a whole chunk.
constexpr std::size_t kLeastPartWords = 1024;

}  // namespace

WindowTrainer::WindowTrainer(Model& model, CorpusView corpus, std::span<const std::int64_t> counts,
                             const TrainConfig& config)
    : model_(model),
      corpus_(corpus),
      config_(config),
      counts_(counts),
      negatives_(counts, config.ns_exponent),
      keep_thresholds_(keep_thresholds(corpus.counts, config.sample)) {
  make_chunks();
  const bool tiles = config.negative_sharing == NegativeSharing::kTile;
  if (tiles) most_workers_ = most_tile_workers(corpus.counts, keep_thresholds_, config);
  if (!config.deterministic) return;
  round_tiles_ = tiles ? round_tile_count(corpus.counts, counts, keep_thresholds_, config) : 1;
}

void WindowTrainer::make_chunks() {
  const auto& offsets = corpus_.offsets;
  Chunk chunk{0, 0, 0};
  for (std::int64_t sentence = 0; sentence + 1 < static_cast<std::int64_t>(offsets.size()); ++sentence) {
    for (std::int64_t begin = offsets[sentence]; begin < offsets[sentence + 1];) {
      if (chunk.begin == begin) chunk.sentence = sentence;
      const std::int64_t end = std::min(offsets[sentence + 1], begin + config_.max_sentence_length);
      chunk.end = end;
      if (end - chunk.begin >= kChunkTokens) {
        chunks_.push_back(chunk);
        chunk = {end, end, sentence};
      }
      begin = end;
    }
  }
  if (chunk.end > chunk.begin) chunks_.push_back(chunk);
}

// Rows that two workers write to travel between their caches, and with fresh negatives for every pair nearly all rows
// are those of negatives. So workers draw from parts of the noise, another one with each chunk: those under way at a
// time follow each other in the text. One worker draws from the whole, as word2vec.c does.
void WindowTrainer::divide_noise(int workers) {
  const std::size_t most = std::min(kMostNoiseParts, std::max<std::size_t>(1, counts_.size() / kLeastPartWords));
  const std::size_t parts = std::min(most, static_cast<std::size_t>(workers));
  if (parts == 1) {
    noise_parts_.clear();
  } else if (noise_parts_.size() != parts) {
    noise_parts_ = AliasTable::parts(counts_, config_.ns_exponent, parts);
  }
}

const AliasTable& WindowTrainer::noise_of(const Chunk& chunk, std::uint32_t epoch) const noexcept {
  const auto number = static_cast<std::size_t>(&chunk - chunks_.data());
  return noise_parts_.empty() ? negatives_ : noise_parts_[(number + epoch) % noise_parts_.size()];
}

float WindowTrainer::learning_rate_at(std::uint32_t epoch, std::int64_t position) const noexcept {
  const auto epoch_tokens = static_cast<double>(corpus_.ids.size());
  const double done = (epoch * epoch_tokens + static_cast<double>(position)) / (config_.epochs * epoch_tokens);
  return static_cast<float>(std::max(config_.min_alpha, config_.alpha - (config_.alpha - config_.min_alpha) * done));
}

void WindowTrainer::publish(const EpochTotals& totals, int worker) noexcept {
  Published& published = published_[worker];
  published.token_count.store(totals.token_count, std::memory_order_relaxed);
  published.center_count.store(totals.center_count, std::memory_order_relaxed);
  published.positive_count.store(totals.positive_count, std::memory_order_relaxed);
  published.loss.store(totals.loss, std::memory_order_relaxed);
}

template <class Worker>
void WindowTrainer::run_worker(Worker& worker, int number, const support::StopFlag& stop,
                               std::chrono::steady_clock::time_point deadline) {
  publish(worker.totals(), number);
  while (!stop.load(std::memory_order_relaxed) && !pausing_.load(std::memory_order_relaxed)) {
    const std::size_t index = next_chunk_.fetch_add(1);
    if (index >= chunks_.size()) break;
    worker.train_chunk(chunks_[index], stop);
    publish(worker.totals(), number);
    if (std::chrono::steady_clock::now() >= deadline) pause();
  }
}

std::size_t WindowTrainer::chunk_at(std::int64_t position) const {
  const auto found = std::lower_bound(chunks_.begin(), chunks_.end(), position,
                                      [](const Chunk& chunk, std::int64_t begin) { return chunk.begin < begin; });
  const std::int64_t begin = found == chunks_.end() ? static_cast<std::int64_t>(corpus_.ids.size()) : found->begin;
  if (begin != position) {
    throw std::invalid_argument("an epoch does not pause at token " + std::to_string(position) + " of " +
                                std::to_string(corpus_.ids.size()));
  }
  return static_cast<std::size_t>(found - chunks_.begin());
}

EpochTotals WindowTrainer::run_epoch(std::uint32_t epoch, int workers, const std::function<void()>& tick,
                                     const EpochPart& part) {
  if (config_.deterministic) {
    // More workers than tiles would only have to be waited for.
    workers = std::min(workers, static_cast<int>(round_tiles_));
  } else if (most_workers_ != 0) {
    workers = std::min(workers, most_workers_);
  }
  const bool tiles = config_.negative_sharing == NegativeSharing::kTile;
  const bool pairs = config_.negative_sharing == NegativeSharing::kPair;
  // The kernel of "pair" finds rows by words, and its parts of the noise are rows that lie side by side.
  model_.spread(workers > 1 && !pairs);
  if (config_.deterministic && tiles) return run_rounds(epoch, workers, tick, part);
  if (pairs) divide_noise(workers);
  next_chunk_.store(chunk_at(part.start.token_count));
  pausing_.store(false);
  published_ = std::make_unique<Published[]>(workers);
  published_count_ = workers;
  support::run_workers(
      workers,
      [this, epoch, tiles, &part](int number, const support::StopFlag& stop) {
        const auto run = [&](auto worker) {
          if (number == 0) worker.start_from(part.start);
          run_worker(worker, number, stop, part.deadline);
        };
        if (tiles) {
          run(TileWorker(*this, epoch));
        } else {
          run(WindowWorker(*this, epoch));
        }
      },
      tick);
  return progress();
}

EpochTotals WindowTrainer::run_rounds(std::uint32_t epoch, int workers, const std::function<void()>& tick,
                                      const EpochPart& part) {
  const std::size_t first_chunk = chunk_at(part.start.token_count);
  pausing_.store(false);
  published_ = std::make_unique<Published[]>(1);
  published_count_ = 1;
  TileRounds rounds(*this, epoch, workers, first_chunk, part);
  support::run_workers(
      workers, [&rounds](int number, const support::StopFlag& stop) { rounds.work(number, stop); }, tick);
  return progress();
}

EpochTotals WindowTrainer::progress() const {
  EpochTotals totals;
  for (int worker = 0; worker < published_count_; ++worker) {
    totals.token_count += published_[worker].token_count.load(std::memory_order_relaxed);
    totals.center_count += published_[worker].center_count.load(std::memory_order_relaxed);
    totals.positive_count += published_[worker].positive_count.load(std::memory_order_relaxed);
    totals.loss += published_[worker].loss.load(std::memory_order_relaxed);
  }
  return totals;
}

}  // namespace fastembed::train
