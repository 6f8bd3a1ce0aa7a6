// One worker of "window", "pair" and CBOW by centers: its buffers and the walk over its pieces, draws, prefetches and
// calls of the window kernels. Included by window_trainer.cpp alone. No SIMD, no Python.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "cpu/dispatch.hpp"
#include "cpu/kernel_table.hpp"
#include "support/aligned_buffer.hpp"
#include "support/rng.hpp"
#include "train/window_trainer.hpp"

namespace fastembed::train {

// How many centers ahead rows are prefetched: 2 centers take about 500 ns, a DRAM access 100-220. With "pair", whose
// kernel looks so many pairs ahead, each of these has one at least.
constexpr std::size_t kLookahead = 2;

// Window mode picks negatives from a pool of words that all positions of a stretch share. A pool's rows stay in the L2
// cache of the worker that trains the stretch, where fresh rows would come from L3, DRAM or the other worker's cache.
constexpr std::int64_t kPoolStretch = 512;  // raw positions
constexpr std::size_t kPoolWords = 256;     // so that a byte of a random number picks one

// Negatives are drawn for this many centers at a time, so that the cache misses of the alias table overlap. Two batches
// are kept: the lookahead reaches into the next one.
constexpr std::size_t kDrawBatch = 32;

inline void prefetch_row(const float* row, std::size_t floats) noexcept {
  for (std::size_t i = 0; i < floats; i += 16) __builtin_prefetch(row + i, 1, 3);
}

// One worker's buffers and the walk over its pieces.
class WindowWorker {
 public:
  WindowWorker(WindowTrainer& trainer, std::uint32_t epoch)
      : trainer_(trainer),
        config_(trainer.config_),
        kernels_(cpu::kernels()),
        epoch_(epoch),
        token_key_(support::stream_key(config_.seed, support::Stream::kTokens, epoch)),
        negative_key_(support::stream_key(config_.seed, support::Stream::kNegatives, epoch)),
        pool_key_(support::stream_key(config_.seed, support::Stream::kPools, epoch)),
        stride_(trainer.model_.depth()),
        max_contexts_(2 * std::size_t{config_.window}),
        negatives_per_center_(per_pair() ? max_contexts_ * config_.negative : config_.negative),
        lookahead_(per_pair() ? kPairLookahead : kLookahead),
        drawn_((2 * kDrawBatch + 1) * negatives_per_center_ + std::size_t{kPairLookahead} * config_.negative),
        context_rows_(max_contexts_ + 1),
        context_values_(max_contexts_),
        target_rows_(config_.negative + 1),
        prefetch_rows_(config_.negative + 2),
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
    noise_ = &trainer_.noise_of(chunk, epoch_);
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
      const std::uint64_t random = support::draw(token_key_, static_cast<std::uint64_t>(position));
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
    for (std::size_t i = 0; i < std::min(lookahead_, centers_.size()); ++i) prepare(i);
    for (std::size_t i = 0; i < centers_.size(); ++i) {
      if (i + lookahead_ < centers_.size()) prepare(i + lookahead_);
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
  std::int32_t* drawn(std::size_t i) noexcept {
    const std::size_t slot = i % (2 * kDrawBatch);
    return drawn_.data() + (per_pair() ? first_drawn_[slot] : slot * negatives_per_center_);
  }

  void draw_batch(std::size_t begin) {
    if (per_pair()) return draw_pairs(begin);
    const std::size_t end = std::min(begin + kDrawBatch, centers_.size());
    for (std::size_t i = begin; i < end; ++i) {
      if (config_.negative_sharing == NegativeSharing::kWindow) {
        pick_from_pool(centers_[i].position, drawn(i));
      } else {
        draw_words(i, config_.negative, drawn(i));
      }
    }
  }

  void draw_words(std::size_t i, std::size_t count, std::int32_t* words) {
    const std::uint64_t first = static_cast<std::uint64_t>(centers_[i].position) * negatives_per_center_;
    for (std::size_t n = 0; n < count; ++n) {
      words[n] = noise_->sample(support::draw(negative_key_, first + n));
    }
  }

  // The centers whose steps are still to come are moved to the front of drawn_, the batch goes behind them.
  void draw_pairs(std::size_t begin) {
    const std::size_t waiting = begin - std::min(begin, lookahead_);
    const std::size_t passed = begin == 0 ? drawn_end_ : first_drawn_[waiting % (2 * kDrawBatch)];
    std::copy(drawn_.begin() + static_cast<std::ptrdiff_t>(passed),
              drawn_.begin() + static_cast<std::ptrdiff_t>(drawn_end_), drawn_.begin());
    for (std::size_t i = waiting; i < begin; ++i) first_drawn_[i % (2 * kDrawBatch)] -= passed;
    drawn_end_ -= passed;
    for (std::size_t i = begin; i < std::min(begin + kDrawBatch, centers_.size()); ++i) {
      first_drawn_[i % (2 * kDrawBatch)] = drawn_end_;
      const std::size_t count = (last_context(i) - first_context(i)) * config_.negative;
      draw_words(i, count, drawn_.data() + drawn_end_);
      drawn_end_ += count;
    }
    // Prefetched by the last pairs of a piece.
    std::fill_n(drawn_.data() + drawn_end_, kPairLookahead * config_.negative, drawn_[drawn_end_ - 1]);
  }

  // Eight picks a random number, a byte each, from the lowest.
  void pick_from_pool(std::int64_t position, std::int32_t* words) {
    if (position / kPoolStretch != pool_stretch_) fill_pool(position / kPoolStretch);
    const std::uint64_t draws = (config_.negative + 7) / 8;
    std::uint64_t random = 0;
    for (std::uint32_t n = 0; n < config_.negative; ++n, random >>= 8) {
      if (n % 8 == 0) random = support::draw(negative_key_, static_cast<std::uint64_t>(position) * draws + n / 8);
      words[n] = pool_[random & 0xff];
    }
  }

  void fill_pool(std::int64_t stretch) {
    pool_stretch_ = stretch;
    for (std::size_t slot = 0; slot < kPoolWords; ++slot) {
      const std::uint64_t random = support::draw(pool_key_, static_cast<std::uint64_t>(stretch) * kPoolWords + slot);
      pool_[slot] = trainer_.negatives_.sample(random);
    }
  }

  // Draws for center i and prefetches the rows that its step will be the first to need. The kernels of a whole window
  // spread the prefetches over their own loop, so for them they are only listed; that of pairs knows the negatives.
  void prepare(std::size_t i) {
    if (i % kDrawBatch == 0) draw_batch(i);
    if (!per_pair()) return list_prefetches(i);
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

  void window_step(std::size_t i) {
    const std::uint32_t contexts = gather_contexts(i);
    const std::uint32_t targets = gather_targets(centers_[i].word, drawn(i));
    kernels_.sgns_window_f32({.context_values = context_values_.data(),
                              .context_rows = context_rows_.data(),
                              .target_rows = target_rows_.data(),
                              .prefetch_rows = prefetch_rows_.data(),
                              .context_count = contexts,
                              .target_count = targets,
                              .depth = static_cast<std::uint32_t>(stride_),
                              .learning_rate = trainer_.learning_rate_at(epoch_, centers_[i].position),
                              .workspace = workspace_.data(),
                              .loss = &loss_});
    count(contexts);
  }

  void pair_steps(std::size_t i) {
    std::uint32_t contexts = 0;
    for (std::size_t j = first_context(i); j <= last_context(i); ++j) {
      context_rows_[contexts] = input_row(centers_[j].word);
      contexts += j != i;
    }
    kernels_.sgns_pairs_f32({.context_rows = context_rows_.data(),
                             .output_rows = output_row(0),
                             .negatives = drawn(i),
                             .target_rows = target_rows_.data(),
                             .center = centers_[i].word,
                             .pair_count = contexts,
                             .negative_count = config_.negative,
                             .depth = static_cast<std::uint32_t>(stride_),
                             .learning_rate = trainer_.learning_rate_at(epoch_, centers_[i].position),
                             .workspace = workspace_.data(),
                             .loss = &loss_});
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
  const AliasTable* noise_ = nullptr;  // of the chunk under way
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
  std::size_t lookahead_;  // centers that are prepared before their step
  std::vector<std::int32_t> drawn_;
  // "pair": the draws of centers follow each other in drawn_ without gaps; by center, modulo 2 * kDrawBatch.
  std::size_t first_drawn_[2 * kDrawBatch] = {};
  std::size_t drawn_end_ = 0;
  std::vector<float*> context_rows_;
  std::vector<const float*> context_values_;
  std::vector<float*> target_rows_;
  std::vector<const float*> prefetch_rows_;
  support::AlignedBuffer<float> copies_;
  support::AlignedBuffer<float> workspace_;
  LossSum loss_{};
  EpochTotals totals_;
};

}  // namespace fastembed::train
