#include "train/window_trainer.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "cpu/dispatch.hpp"
#include "support/rng.hpp"
#include "support/thread_pool.hpp"
#include "train/tile_rounds.hpp"
#include "train/tile_worker.hpp"

namespace fastembed::train {
namespace {

using support::draw;
using support::Stream;
using support::stream_key;

constexpr std::int64_t kChunkTokens = 16'384;

// How many centers ahead rows are prefetched: 2 centers take about 500 ns, a DRAM access 100-220.
constexpr std::size_t kLookahead = 2;

// Window mode picks negatives from a pool of words that all positions of a stretch share. A pool's rows stay in the L2
// cache of the worker that trains the stretch, where fresh rows would come from L3, DRAM or the other worker's cache.
constexpr std::int64_t kPoolStretch = 512;  // raw positions
constexpr std::size_t kPoolWords = 256;     // so that a byte of a random number picks one

// Negatives are drawn for this many centers at a time, so that the cache misses of the alias table overlap. Two batches
// are kept: the lookahead reaches into the next one.
constexpr std::size_t kDrawBatch = 32;

void prefetch_row(const float* row, std::size_t floats) noexcept {
  for (std::size_t i = 0; i < floats; i += 16) __builtin_prefetch(row + i, 1, 3);
}

}  // namespace

// One worker's buffers and the walk over its pieces.
class WindowWorker {
 public:
  WindowWorker(WindowTrainer& trainer, std::uint32_t epoch)
      : trainer_(trainer),
        config_(trainer.config_),
        kernels_(cpu::kernels()),
        epoch_(epoch),
        token_key_(stream_key(config_.seed, Stream::kTokens, epoch)),
        negative_key_(stream_key(config_.seed, Stream::kNegatives, epoch)),
        pool_key_(stream_key(config_.seed, Stream::kPools, epoch)),
        stride_(trainer.model_.depth()),
        max_contexts_(2 * std::size_t{config_.window}),
        negatives_per_center_(per_pair() ? max_contexts_ * config_.negative : config_.negative),
        drawn_(2 * kDrawBatch * negatives_per_center_),
        context_rows_(max_contexts_ + 1),
        context_values_(max_contexts_),
        target_rows_(config_.negative + 1),
        prefetch_rows_(config_.negative + 2),
        kernel_prefetches_(!per_pair()),
        copies_(max_contexts_ * stride_),
        workspace_((max_contexts_ + target_rows_.size() + 2) * stride_ +
                   32 * config_.window * ((target_rows_.size() + 5) / 6)) {
    std::fill(std::begin(loss_.factor_lanes), std::end(loss_.factor_lanes), 1.0F);
  }

  // The totals of earlier parts of the epoch, so that sums are the same as without a pause.
  void start_from(const EpochTotals& totals) noexcept {
    totals_ = totals;
    loss_.total = totals.loss;
  }

  void train_chunk(const WindowTrainer::Chunk& chunk, const support::StopFlag& stop) {
    const auto& offsets = trainer_.corpus_.offsets;
    std::int64_t begin = chunk.begin;
    std::int64_t sentence = chunk.sentence;
    while (begin < chunk.end && !stop.load(std::memory_order_relaxed)) {
      while (offsets[sentence + 1] <= begin) ++sentence;
      const std::int64_t end = std::min(offsets[sentence + 1], begin + config_.max_sentence_length);
      train_piece(begin, end, stop);
      begin = end;
    }
    kernels_.drain_loss(loss_);
    totals_.token_count += chunk.end - chunk.begin;
  }

  [[nodiscard]] EpochTotals totals() const noexcept {
    EpochTotals totals = totals_;
    totals.loss = loss_.total;
    return totals;
  }

 private:
  struct Center {
    std::int64_t position;  // raw token index in the corpus: names the random draws
    std::int32_t word;
    std::uint32_t reach;          // effective window
    std::int32_t previous_alike;  // the last center before this one whose word may be the same, -1 if none
  };

  // The window kernels work on float32 rows.
  [[nodiscard]] float* input_row(std::int32_t word) const noexcept {
    return static_cast<float*>(trainer_.model_.input_row(static_cast<std::size_t>(word)));
  }
  [[nodiscard]] float* output_row(std::int32_t word) const noexcept {
    return static_cast<float*>(trainer_.model_.output_row(static_cast<std::size_t>(word)));
  }

  // Finds repeated words without comparing all pairs of a window: the last center per slot of word % kSlots. Two words
  // in one slot only cost a look.
  static constexpr std::size_t kSlots = 1024;

  [[nodiscard]] bool per_pair() const noexcept {
    return config_.negative_sharing == NegativeSharing::kPair && config_.architecture == Architecture::kSkipGram;
  }

  // Subsampling happens before windows are laid, as in word2vec.c.
  void subsample(std::int64_t begin, std::int64_t end) {
    centers_.clear();
    std::fill(last_alike_.begin(), last_alike_.end(), -1);
    for (std::int64_t position = begin; position < end; ++position) {
      const std::int32_t word = trainer_.corpus_.ids[position];
      const std::uint64_t random = draw(token_key_, static_cast<std::uint64_t>(position));
      if (static_cast<std::uint32_t>(random >> 32) > trainer_.keep_thresholds_[word]) continue;
      const std::uint64_t low = static_cast<std::uint32_t>(random);
      const auto reach =
          config_.shrink_windows ? 1 + static_cast<std::uint32_t>((low * config_.window) >> 32) : config_.window;
      std::int32_t& last = last_alike_[static_cast<std::size_t>(word) % kSlots];
      const std::int32_t previous = std::exchange(last, static_cast<std::int32_t>(centers_.size()));
      centers_.push_back({position, word, reach, previous});
    }
  }

  void train_piece(std::int64_t begin, std::int64_t end, const support::StopFlag& stop) {
    subsample(begin, end);
    if (centers_.size() < 2) return;
    for (std::size_t i = 0; i < std::min(kLookahead, centers_.size()); ++i) prepare(i);
    for (std::size_t i = 0; i < centers_.size(); ++i) {
      if (i + kLookahead < centers_.size()) prepare(i + kLookahead);
      if (stop.load(std::memory_order_relaxed)) return;
      if (config_.architecture == Architecture::kCbow) {
        cbow_step(i);
      } else if (per_pair()) {
        pair_steps(i);
      } else {
        window_step(i);
      }
    }
  }

  [[nodiscard]] std::size_t first_context(std::size_t i) const noexcept {
    return i - std::min<std::size_t>(i, centers_[i].reach);
  }
  [[nodiscard]] std::size_t last_context(std::size_t i) const noexcept {
    return std::min(centers_.size() - 1, i + centers_[i].reach);
  }
  std::int32_t* drawn(std::size_t i) noexcept { return drawn_.data() + (i % (2 * kDrawBatch)) * negatives_per_center_; }

  [[nodiscard]] std::size_t draw_count(std::size_t i) const noexcept {
    return per_pair() ? (last_context(i) - first_context(i)) * config_.negative : config_.negative;
  }

  void draw_batch(std::size_t begin) {
    const std::size_t end = std::min(begin + kDrawBatch, centers_.size());
    for (std::size_t i = begin; i < end; ++i) {
      if (config_.negative_sharing == NegativeSharing::kWindow) {
        pick_from_pool(centers_[i].position, drawn(i));
        continue;
      }
      const std::uint64_t first = static_cast<std::uint64_t>(centers_[i].position) * negatives_per_center_;
      std::int32_t* words = drawn(i);
      for (std::size_t n = 0, draws = draw_count(i); n < draws; ++n) {
        words[n] = trainer_.negatives_.sample(draw(negative_key_, first + n));
      }
    }
  }

  // Eight picks a random number, a byte each, from the lowest.
  void pick_from_pool(std::int64_t position, std::int32_t* words) {
    if (position / kPoolStretch != pool_stretch_) fill_pool(position / kPoolStretch);
    const std::uint64_t draws = (config_.negative + 7) / 8;
    std::uint64_t random = 0;
    for (std::uint32_t n = 0; n < config_.negative; ++n, random >>= 8) {
      if (n % 8 == 0) random = draw(negative_key_, static_cast<std::uint64_t>(position) * draws + n / 8);
      words[n] = pool_[random & 0xff];
    }
  }

  void fill_pool(std::int64_t stretch) {
    pool_stretch_ = stretch;
    for (std::size_t slot = 0; slot < kPoolWords; ++slot) {
      const std::uint64_t random = draw(pool_key_, static_cast<std::uint64_t>(stretch) * kPoolWords + slot);
      pool_[slot] = trainer_.negatives_.sample(random);
    }
  }

  // Draws for center i and prefetches the rows that its step will be the first to need. The kernels of a whole
  // window spread the prefetches over their own loop, so for them they are only listed.
  void prepare(std::size_t i) {
    if (i % kDrawBatch == 0) draw_batch(i);
    if (kernel_prefetches_) return list_prefetches(i);
    const std::int32_t* words = drawn(i);
    for (std::size_t n = 0, draws = draw_count(i); n < draws; ++n) {
      prefetch_row(output_row(words[n]), stride_);
    }
    prefetch_row(output_row(centers_[i].word), stride_);
    const std::size_t entering = i + config_.window;
    if (entering < centers_.size()) prefetch_row(input_row(centers_[entering].word), stride_);
  }

  void list_prefetches(std::size_t i) {
    const std::int32_t* words = drawn(i);
    for (std::uint32_t n = 0; n < config_.negative; ++n) prefetch_rows_[n] = output_row(words[n]);
    prefetch_rows_[config_.negative] = output_row(centers_[i].word);
    const std::size_t entering = std::min(i + config_.window, centers_.size() - 1);
    prefetch_rows_[config_.negative + 1] = input_row(centers_[entering].word);
  }

  // Rows of the window in text order; returns how many.
  std::uint32_t gather_contexts(std::size_t i) {
    const std::size_t first = first_context(i);
    const std::size_t last = last_context(i);
    std::uint32_t count = 0;
    bool may_repeat = false;
    for (std::size_t j = first; j <= last; ++j) {
      may_repeat |= centers_[j].previous_alike >= static_cast<std::int32_t>(first);
      context_rows_[count] = input_row(centers_[j].word);
      count += j != i;
    }
    std::copy_n(context_rows_.data(), count, context_values_.data());
    if (may_repeat) copy_repeats(count);
    return count;
  }

  // A row that occurs again in the window is read from a copy: its first occurrence may be updated before.
  void copy_repeats(std::uint32_t count) {
    for (std::uint32_t c = 1; c < count; ++c) {
      const auto* earlier_end = context_rows_.data() + c;
      if (std::find(static_cast<float* const*>(context_rows_.data()), earlier_end, context_rows_[c]) == earlier_end) {
        continue;
      }
      float* copy = copies_.data() + c * stride_;
      std::memcpy(copy, context_rows_[c], stride_ * sizeof(float));
      context_values_[c] = copy;
    }
  }

  // The center's output row, then its negatives; a negative equal to the center is left out, as in word2vec.c.
  std::uint32_t gather_targets(std::int32_t center, const std::int32_t* negatives) {
    target_rows_[0] = output_row(center);
    std::uint32_t count = 1;
    for (std::uint32_t n = 0; n < config_.negative; ++n) {
      if (negatives[n] != center) target_rows_[count++] = output_row(negatives[n]);
    }
    return count;
  }

  void call_skip_gram(std::uint32_t first, std::uint32_t contexts, std::uint32_t targets, float learning_rate,
                      const float* const* prefetch_rows) {
    kernels_.sgns_window_f32({.context_values = context_values_.data() + first,
                              .context_rows = context_rows_.data() + first,
                              .target_rows = target_rows_.data(),
                              .prefetch_rows = prefetch_rows,
                              .context_count = contexts,
                              .target_count = targets,
                              .depth = static_cast<std::uint32_t>(stride_),
                              .learning_rate = learning_rate,
                              .workspace = workspace_.data(),
                              .loss = &loss_});
  }

  void window_step(std::size_t i) {
    const std::uint32_t contexts = gather_contexts(i);
    const std::uint32_t targets = gather_targets(centers_[i].word, drawn(i));
    call_skip_gram(0, contexts, targets, trainer_.learning_rate_at(epoch_, centers_[i].position),
                   prefetch_rows_.data());
    count(contexts);
  }

  void pair_steps(std::size_t i) {
    const std::uint32_t contexts = gather_contexts(i);
    const float learning_rate = trainer_.learning_rate_at(epoch_, centers_[i].position);
    for (std::uint32_t c = 0; c < contexts; ++c) {
      context_values_[c] = context_rows_[c];
      const std::uint32_t targets = gather_targets(centers_[i].word, drawn(i) + c * config_.negative);
      call_skip_gram(c, 1, targets, learning_rate, nullptr);
    }
    count(contexts);
  }

  void cbow_step(std::size_t i) {
    const std::uint32_t contexts = gather_contexts(i);
    const std::uint32_t targets = gather_targets(centers_[i].word, drawn(i));
    const float share = 1.0F / static_cast<float>(contexts);
    // As in word2vec.c and gensim: the mean's error goes undivided to every context row, the sum's error divided.
    kernels_.cbow_window_f32({.context_rows = context_rows_.data(),
                              .target_rows = target_rows_.data(),
                              .prefetch_rows = prefetch_rows_.data(),
                              .context_count = contexts,
                              .target_count = targets,
                              .depth = static_cast<std::uint32_t>(stride_),
                              .learning_rate = trainer_.learning_rate_at(epoch_, centers_[i].position),
                              .hidden_scale = config_.cbow_mean ? share : 1.0F,
                              .gradient_scale = config_.cbow_mean ? 1.0F : share,
                              .workspace = workspace_.data(),
                              .loss = &loss_});
    count(1);
  }

  void count(std::uint32_t positives) noexcept {
    totals_.center_count += 1;
    totals_.positive_count += positives;
  }

  WindowTrainer& trainer_;
  const TrainConfig& config_;
  const KernelTable& kernels_;
  std::uint32_t epoch_;
  std::uint64_t token_key_;
  std::uint64_t negative_key_;
  std::uint64_t pool_key_;
  std::int64_t pool_stretch_ = -1;
  std::int32_t pool_[kPoolWords] = {};
  std::size_t stride_;
  std::size_t max_contexts_;
  std::size_t negatives_per_center_;
  std::vector<Center> centers_;
  std::vector<std::int32_t> last_alike_ = std::vector<std::int32_t>(kSlots);
  std::vector<std::int32_t> drawn_;
  std::vector<float*> context_rows_;
  std::vector<const float*> context_values_;
  std::vector<float*> target_rows_;
  std::vector<const float*> prefetch_rows_;
  bool kernel_prefetches_;
  support::AlignedBuffer<float> copies_;
  support::AlignedBuffer<float> workspace_;
  LossSum loss_{};
  EpochTotals totals_;
};

WindowTrainer::WindowTrainer(Model& model, CorpusView corpus, std::span<const std::int64_t> counts,
                             const TrainConfig& config)
    : model_(model),
      corpus_(corpus),
      config_(config),
      negatives_(counts, config.ns_exponent),
      keep_thresholds_(keep_thresholds(corpus.counts, config.sample)) {
  make_chunks();
  if (config.deterministic) round_tiles_ = round_tile_count(corpus.counts, counts, keep_thresholds_, config);
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
  if (config_.deterministic) return run_rounds(epoch, workers, tick, part);
  next_chunk_.store(chunk_at(part.start.token_count));
  pausing_.store(false);
  published_ = std::make_unique<Published[]>(workers);
  published_count_ = workers;
  support::run_workers(
      workers,
      [this, epoch, &part](int number, const support::StopFlag& stop) {
        const auto run = [&](auto worker) {
          if (number == 0) worker.start_from(part.start);
          run_worker(worker, number, stop, part.deadline);
        };
        if (config_.negative_sharing == NegativeSharing::kTile) {
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
  // More workers than tiles would only have to be waited for.
  const int busy = std::min(workers, static_cast<int>(round_tiles_));
  TileRounds rounds(*this, epoch, busy, first_chunk, part);
  support::run_workers(busy, [&rounds](int number, const support::StopFlag& stop) { rounds.work(number, stop); }, tick);
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
