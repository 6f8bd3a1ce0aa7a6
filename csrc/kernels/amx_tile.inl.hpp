// The tile step of sgns_tile.inl.hpp with its products on matrix tiles of 16 x 16 sums (MatrixUnit comes from simd/).
// First the scores and gradients, block of output rows after block, then the updates, block after block. Products are
// issued before vector work on other blocks, so that matrix and vector units work at once and nothing is read right
// after it has been stored.
#pragma once

#include "kernels/amx_tile_layout.inl.hpp"
#include "kernels/rough_logistic.inl.hpp"

namespace fastembed {
namespace {

// A run of steps of a product: 16 rows of pairs on the left, 16 rows of pairs with 16 columns on the right.
struct MatrixSteps {
  const float* left;  // advances by left_step
  std::size_t left_stride;
  std::size_t left_step;
  const float* right;  // advances by right_step
  std::size_t right_step;
  std::size_t count;

  [[nodiscard]] MatrixSteps from(std::size_t at) const noexcept {
    return {left, left_stride, left_step, right + at, right_step, count};
  }
};

// kCount products side by side: what stands on the right is `pitch` elements further for each. Sums are in registers 0
// to 3, the left in 4, the right in the others by turns.
template <int kCount>
[[gnu::always_inline]] inline void zero_sums() noexcept {
  MatrixUnit::zero<0>();
  if constexpr (kCount > 1) MatrixUnit::zero<1>();
  if constexpr (kCount > 2) MatrixUnit::zero<2>();
  if constexpr (kCount > 3) MatrixUnit::zero<3>();
}

template <int kCount>
[[gnu::always_inline]] inline void run_steps(const MatrixSteps& steps, std::size_t pitch) noexcept {
  for (std::size_t n = 0; n < steps.count; ++n) {
    const float* const right = steps.right + n * steps.right_step;
    MatrixUnit::load<4>(steps.left + n * steps.left_step, steps.left_stride);
    MatrixUnit::load<5>(right, kTileSide);
    MatrixUnit::multiply_add<0, 4, 5>();
    if constexpr (kCount > 1) {
      MatrixUnit::load<6>(right + pitch, kTileSide);
      MatrixUnit::multiply_add<1, 4, 6>();
    }
    if constexpr (kCount > 2) {
      MatrixUnit::load<7>(right + 2 * pitch, kTileSide);
      MatrixUnit::multiply_add<2, 4, 7>();
    }
    if constexpr (kCount > 3) {
      MatrixUnit::load<5>(right + 3 * pitch, kTileSide);
      MatrixUnit::multiply_add<3, 4, 5>();
    }
  }
}

// Sums to rows `stride` elements apart, those of a product `step` from those of the one before.
template <int kCount>
[[gnu::always_inline]] inline void store_sums(float* to, std::size_t stride, std::size_t step) noexcept {
  MatrixUnit::store<0>(to, stride);
  if constexpr (kCount > 1) MatrixUnit::store<1>(to + step, stride);
  if constexpr (kCount > 2) MatrixUnit::store<2>(to + 2 * step, stride);
  if constexpr (kCount > 3) MatrixUnit::store<3>(to + 3 * step, stride);
}

// Scores of 16 output rows against blocks of inputs.
[[gnu::always_inline]] inline void score_rows(const AmxLayout& layout, const float* rows, std::size_t first,
                                              std::size_t blocks, float* to, std::size_t stride) noexcept {
  const float* const columns = layout.input_columns + first * kTileFloats;
  for_runs<4>(blocks, [&](std::size_t run, auto count) __attribute__((always_inline)) {
    constexpr int kCount = decltype(count)::value;
    zero_sums<kCount>();
    run_steps<kCount>(
        {rows, kTileSide, kTileFloats, columns + run * kTileFloats, kInputBlocks * kTileFloats, layout.steps},
        kTileFloats);
    store_sums<kCount>(to + run * kTileSide, stride, kTileSide);
  });
}

// What is scored, n after n: blocks of centers, then steps of negatives, each of one block or two.
inline void score(const AmxLayout& layout, std::size_t n) noexcept {
  const float* const rows = layout.output_block(n);
  float* const to = layout.scores_of(n);
  if (n < layout.center_blocks) {
    const std::size_t first = layout.first_context_block(n), end = AmxLayout::end_context_block(n);
    return score_rows(layout, rows, first, end - first, to + layout.band_column(n, first), layout.band);
  }
  for (std::size_t row = 0; row < layout.negatives_of(n - layout.center_blocks); row += kTileSide) {
    score_rows(layout, rows + row * kTileSide * layout.steps, 0, kInputBlocks, to + row * kPositions, kPositions);
  }
}

template <class Rows>
inline void pack(const AmxLayout& layout, std::size_t n, LinePrefetcher& prefetch) noexcept {
  float* const to = layout.output_block(n);
  if (n < layout.center_blocks) {
    const std::size_t first = n * kTileSide, rows = layout.used_centers - first;
    return pack_rows<Rows>(layout, layout.tile.center_rows + first, rows < kTileSide ? rows : kTileSide, to,
                           layout.output_panels + first / 2 * kTileSide, prefetch);
  }
  const std::size_t first = (n - layout.center_blocks) * kTileDepth, rows = layout.tile.negative_count - first;
  for (std::size_t row = 0; row < kTileDepth && row < rows; row += kTileSide) {
    pack_rows<Rows>(layout, layout.tile.negative_rows + first + row, kTileSide, to + row * kTileSide * layout.steps,
                    layout.output_panels + (layout.first_negative + first + row) / 2 * kTileSide, prefetch);
  }
}

// Gradients of two rows at 16 inputs: to their rows, `pitch` elements apart; returns them pair by pair.
[[gnu::always_inline]] inline Vec::Reg store_gradients(Vec::Reg first, Vec::Reg second, float* to,
                                                       std::size_t pitch) noexcept {
  const __m512i both = Bf16Product::round_both(first, second);
  Bf16Product::store_half(to, _mm512_castsi512_si256(both));
  Bf16Product::store_half(to + pitch, _mm512_extracti64x4_epi64(both, 1));
  return _mm512_castsi512_ps(Bf16Product::interleave_halves(both));
}

constexpr float kLog2E = 1.44269504F;

// Two centers, `row` and the next one of a block, at 16 columns of its band.
[[gnu::always_inline]] inline void finish_center_pair(const AmxLayout& layout, std::size_t block, std::size_t row,
                                                      std::size_t column, Vec::Reg& linear,
                                                      Vec::Reg& factors) noexcept {
  const SgnsTile& tile = layout.tile;
  const Vec::Reg rate = Vec::broadcast(tile.learning_rate);
  const std::size_t center = block * kTileSide + row, at = center * layout.band + column;
  const float* const scores = layout.scores_of(block);
  const auto first_input =
      static_cast<std::ptrdiff_t>((block + 1) * kTileSide + column) - static_cast<std::ptrdiff_t>(layout.band);
  Vec::Reg gradients[2];
  for (std::size_t r = 0; r < 2; ++r) {
    const std::uint32_t bits = context_bits(tile.center_contexts[center + r], first_input);
    const Vec::Reg score = Vec::load(scores + (row + r) * layout.band + column);
    const Vec::Reg miss = rough_logistic(Vec::mul(score, Vec::broadcast(kLog2E)));
    const auto used = static_cast<__mmask16>(bits);
    gradients[r] = _mm512_maskz_mul_ps(used, rate, miss);
    linear = _mm512_mask_sub_ps(linear, used, linear, _mm512_min_ps(score, Vec::zero()));
    factors = _mm512_mask_mul_ps(factors, used, factors, larger_part(miss));
  }
  const Vec::Reg pairs = store_gradients(gradients[0], gradients[1], layout.center_gradients + at / 2, layout.band / 2);
  Vec::store(layout.center_pairs + center / 2 * layout.band + column, pairs);
}

// Where the contexts of two centers are at most 16 inputs in a row, one register holds them all.
[[gnu::noinline]] void finish_center_block(const AmxLayout& layout, std::size_t block,
                                           LinePrefetcher& prefetch) noexcept {
  Vec::Reg linear = Vec::zero(), factors = Vec::broadcast(1.0F);
  const std::size_t rest = layout.used_centers - block * kTileSide, rows = rest < kTileSide ? rest : kTileSide;
  if (2 * layout.tile.window + 2 <= kTileSide) {
    for (std::size_t row = 0; row < rows; row += 2) {
      prefetch.advance<Stage::kSigmoids>();
      finish_center_pair(layout, block, row, row + 2, linear, factors);
    }
  } else {
    const std::size_t end = layout.band_column(block, AmxLayout::end_context_block(block));
    for (std::size_t row = 0; row < rows; row += 2) {
      prefetch.advance<Stage::kSigmoids>();
      std::size_t column = layout.band_column(block, layout.first_context_block(block));
      for (; column < end; column += kTileSide) finish_center_pair(layout, block, row, column, linear, factors);
    }
  }
  // At most 64 factors of at least 1/2.
  layout.tile.loss->total += static_cast<double>(Vec::sum(Vec::sub(linear, logarithm(factors))));
}

// Turns gradients so that the inputs are rows.
[[gnu::always_inline]] inline void turn(Vec::Reg (&pairs)[kTileSide], const AmxLayout& layout, std::size_t input_block,
                                        std::size_t step) noexcept {
  Vec::transpose(pairs);
  float* const to = layout.turned + (input_block * layout.turned_steps + step) * kTileFloats;
  for (std::size_t j = 0; j < kTileSide; ++j) Vec::store(to + j * kTileSide, pairs[j]);
}

[[gnu::noinline]] void turn_centers(const AmxLayout& layout) noexcept {
  for (std::size_t input = 0; input < kInputBlocks; ++input) {
    for (std::size_t step = 0; step < layout.band_steps; ++step) {
      Vec::Reg pairs[kTileSide];
      for (std::size_t j = 0; j < kTileSide; ++j) {
        const std::size_t block = input + 2 * step + j / (kTileSide / 2);
        const std::size_t pair = block * kTileSide / 2 + j % (kTileSide / 2);
        pairs[j] = Vec::load(layout.center_pairs + pair * layout.band + layout.band_column(block, input));
      }
      turn(pairs, layout, input, step);
    }
  }
}

// Two negatives at 16 inputs: returns their gradients. The loss takes all negatives by the weights that they share.
[[gnu::always_inline]] inline Vec::Reg finish_negative_pair(const AmxLayout& layout, const float* scores,
                                                            std::size_t row, std::size_t input, Vec::Reg& linear,
                                                            Vec::Reg& factors) noexcept {
  const SgnsTile& tile = layout.tile;
  const Vec::Reg minus_rate = Vec::broadcast(-tile.learning_rate);
  Vec::Reg gradients[2];
  for (std::size_t r = 0; r < 2; ++r) {
    const float* const special = tile.special_weights[row + r];
    const Vec::Reg weight = Vec::load((special == nullptr ? tile.input_weights : special) + input);
    const Vec::Reg score = Vec::load(scores + r * kPositions);
    const Vec::Reg probability = rough_logistic(Vec::mul(score, Vec::broadcast(-kLog2E)));
    linear = Vec::add(linear, positive_part(score));
    factors = Vec::mul(factors, larger_part(probability));
    gradients[r] = Vec::mul(Vec::mul(minus_rate, weight), probability);
  }
  return store_gradients(gradients[0], gradients[1], layout.negative_gradients + (row * kPositions + input) / 2,
                         kPositions / 2);
}

// What the loss has too much of a negative with weights of its own.
[[gnu::noinline]] void correct_loss(const AmxLayout& layout, const float* scores, const float* special) noexcept {
  for (std::size_t input = 0; input < kPositions; input += kTileSide) {
    const Vec::Reg missing = Vec::sub(Vec::load(special + input), Vec::load(layout.tile.input_weights + input));
    if (_mm512_cmp_ps_mask(missing, Vec::zero(), _CMP_NEQ_UQ) == 0) continue;
    const Vec::Reg score = Vec::load(scores + input);
    const Vec::Reg part = larger_part(rough_logistic(Vec::mul(score, Vec::broadcast(-kLog2E))));
    const Vec::Reg loss = Vec::sub(positive_part(score), logarithm(part));
    layout.tile.loss->total += static_cast<double>(Vec::sum(Vec::mul(missing, loss)));
  }
}

[[gnu::noinline]] void finish_negative_step(const AmxLayout& layout, std::size_t step,
                                            LinePrefetcher& prefetch) noexcept {
  const SgnsTile& tile = layout.tile;
  const float* const scores = layout.scores_of(layout.center_blocks + step);
  const std::size_t rows = layout.negatives_of(step);
  for (std::size_t block = 0; block < kInputBlocks; ++block) {
    const std::size_t input = block * kTileSide;
    Vec::Reg linear = Vec::zero(), factors = Vec::broadcast(1.0F);
    Vec::Reg pairs[kTileSide];
    for (std::size_t row = 0; row < kTileDepth; row += 2) {
      prefetch.advance<Stage::kSigmoids>();
      pairs[row / 2] = row < rows ? finish_negative_pair(layout, scores + row * kPositions + input,
                                                         step * kTileDepth + row, input, linear, factors)
                                  : Vec::zero();
    }
    turn(pairs, layout, block, layout.band_steps + step);
    const Vec::Reg loss = Vec::sub(linear, logarithm(factors));  // 32 factors of at least 1/2
    tile.loss->total += static_cast<double>(Vec::sum(Vec::mul(loss, Vec::load(tile.input_weights + input))));
  }
  for (std::size_t row = 0; row < rows; ++row) {
    const float* const special = tile.special_weights[step * kTileDepth + row];
    if (special != nullptr) correct_loss(layout, scores + row * kPositions, special);
  }
}

template <class Rows>
void amx_gradients(const AmxLayout& layout, LinePrefetcher& prefetch) noexcept {
  const std::size_t count = layout.center_blocks + layout.negative_steps;
  for (std::size_t n = 0; n < count + 2; ++n) {
    if (n > 0 && n <= count) score(layout, n - 1);
    if (n < count) pack<Rows>(layout, n, prefetch);
    if (n < 2) continue;
    if (n - 2 < layout.center_blocks) {
      finish_center_block(layout, n - 2, prefetch);
    } else {
      finish_negative_step(layout, n - 2 - layout.center_blocks, prefetch);
    }
  }
  turn_centers(layout);
}

// Adds the sums of a part of a row, of tiles in the order of the panels of Rows; load takes the number of a tile.
template <class Rows, class To, class Load>
[[gnu::always_inline]] inline void add_row(typename To::Element* row, std::size_t tiles, RoundingBits& random,
                                           const Load& load) noexcept {
  if constexpr (kSplitsPairs<Rows>) {
    std::size_t t = 0;
    for (; t + 2 <= tiles; t += 2) add_pairs(To{}, row + t * kTileSide, load(t), load(t + 1), random);
    if (t < tiles) add_last_pairs(To{}, row + t * kTileSide, load(t), random);
  } else {
    for (std::size_t t = 0; t < tiles; ++t) To::add(row + t * kTileSide, load(t), random);
  }
}

// Columns of tiles.
struct Slab {
  std::size_t first, count;
};

// Adds a slab of the sums of a block of at most 16 rows to them. A row may repeat, so it is read here and not before.
template <class Rows, class To>
inline void add_block(const Targets& targets, std::size_t count, const Slab& slab, const float* sums,
                      RoundingBits& random, LinePrefetcher& prefetch) noexcept {
  RoundingBits bits = random;  // in registers: what is stored does not change them
  LinePrefetcher lines = prefetch;
  for (std::size_t r = 0; r < count; ++r) {
    auto* const row = static_cast<typename To::Element*>(targets.rows[r]) + slab.first * kTileSide;
    const float* const from = sums + r * kTileSide;
    lines.advance<Stage::kSums>();
    if (targets.scales == nullptr) [[likely]] {
      add_row<Rows, To>(row, slab.count, bits, [&](std::size_t t) __attribute__((always_inline)) {
        return Vec::load(from + t * kTileFloats);
      });
      continue;
    }
    const Vec::Reg scale = Vec::broadcast(targets.scales[r]);
    add_row<Rows, To>(row, slab.count, bits, [&](std::size_t t) __attribute__((always_inline)) {
      Vec::Reg sum = Vec::mul(scale, Vec::load(from + t * kTileFloats));
      Vec::keep(sum);  // not to be joined with the sum in one rounding: stored sums could not be added alike
      return sum;
    });
  }
  random = bits;
  prefetch = lines;
}

// The updates of one slab after the other, block after block: the sums of one are added when the products of the next
// have been issued.
template <class Rows, class To>
class AmxUpdates {
 public:
  AmxUpdates(const AmxLayout& layout, RoundingBits& random, LinePrefetcher& prefetch) noexcept
      : layout_(layout), random_(random), prefetch_(prefetch) {}

  /// What follows is about columns of tiles from `first` on; returns the first that is left.
  std::size_t begin_slab(std::size_t first) noexcept {
    const std::size_t rest = layout_.depth_tiles - first;
    slab_ = {first, rest < kSlabTiles ? rest : kSlabTiles};
    return first + slab_.count;
  }

  void inputs(const Targets& targets) noexcept {
    const std::size_t pitch = layout_.output_pitch;
    const float* turned = layout_.turned;
    for (std::size_t block = 0; block < kInputBlocks; ++block) {
      const float* const centers = layout_.output_panels + block * kTileFloats / 2;
      const float* const negatives = layout_.output_panels + layout_.first_negative / 2 * kTileSide;
      multiply({turned, kTileSide, kTileFloats, centers, kTileFloats, layout_.band_steps},
               {turned + layout_.band_steps * kTileFloats, kTileSide, kTileFloats, negatives, kTileFloats,
                layout_.negative_steps},
               pitch);
      next(targets.from(block * kTileSide), kTileSide);
      turned += layout_.turned_steps * kTileFloats;
    }
  }

  void centers(const Targets& targets) noexcept {
    const std::size_t pitch = layout_.band / 2;
    for (std::size_t first = 0; first < layout_.used_centers; first += kTileSide) {
      const std::size_t rows = layout_.used_centers - first;
      multiply({layout_.center_gradients + first * pitch, pitch, kTileSide,
                layout_.input_panels + first / 2 * kTileSide, kTileFloats, layout_.band_steps},
               {}, layout_.input_pitch);
      next(targets.from(first), rows < kTileSide ? rows : kTileSide);
    }
  }

  void negatives(const Targets& targets) noexcept {
    constexpr std::size_t kPitch = kPositions / 2;
    const float* const inputs = layout_.input_panels + layout_.first_input_pair() * kTileSide;
    for (std::size_t first = 0; first < layout_.tile.negative_count; first += kTileSide) {
      multiply({layout_.negative_gradients + first * kPitch, kPitch, kTileSide, inputs, kTileFloats,
                kPositions / kTileDepth},
               {}, layout_.input_pitch);
      next(targets.from(first), kTileSide);
    }
  }

  void finish() noexcept { next({}, 0); }

 private:
  [[nodiscard]] float* sums_of(std::size_t turn) const noexcept {
    return layout_.sums + turn * kSlabTiles * kTileFloats;
  }
  // The sums of both runs; on the right a run goes through panels `pitch` elements apart.
  [[gnu::always_inline]] void multiply(const MatrixSteps& first, const MatrixSteps& second,
                                       std::size_t pitch) noexcept {
    float* const to = sums_of(turn_);
    for_runs<4>(slab_.count, [&](std::size_t tile, auto count) __attribute__((always_inline)) {
      constexpr int kCount = decltype(count)::value;
      zero_sums<kCount>();
      run_steps<kCount>(first.from((slab_.first + tile) * pitch), pitch);
      run_steps<kCount>(second.from((slab_.first + tile) * pitch), pitch);
      store_sums<kCount>(to + tile * kTileFloats, kTileSide, kTileFloats);
    });
  }
  void next(const Targets& targets, std::size_t count) noexcept {
    if (count_ != 0) add_block<Rows, To>(targets_, count_, waiting_, sums_of(1 - turn_), random_, prefetch_);
    targets_ = targets;
    waiting_ = slab_;
    count_ = count;
    turn_ = 1 - turn_;
  }

  const AmxLayout& layout_;
  RoundingBits& random_;
  LinePrefetcher& prefetch_;
  Slab slab_{};
  Targets targets_{};      // of the block that waits
  Slab waiting_{};         // and its slab
  std::size_t count_ = 0;  // and rows
  std::size_t turn_ = 0;
};

template <class Rows, class To>
[[gnu::noinline]] void amx_update(const AmxLayout& layout, const Targets& inputs, const Targets& centers,
                                  const Targets& negatives, RoundingBits& random, LinePrefetcher& prefetch) noexcept {
  AmxUpdates<Rows, To> updates(layout, random, prefetch);
  for (std::size_t first = 0; first < layout.depth_tiles;) {
    first = updates.begin_slab(first);
    updates.inputs(inputs);
    updates.centers(centers);
    updates.negatives(negatives);
  }
  updates.finish();
}

template <class Rows>
void amx_run_tile(const SgnsTile& tile) noexcept {
  const AmxLayout layout(tile);
  LinePrefetcher prefetch(layout);
  RoundingBits random(tile.rounding_seed);
  const MatrixUnit unit;
  pack_inputs<Rows>(layout, prefetch);
  amx_gradients<Rows>(layout, prefetch);
  Targets inputs{tile.input_rows, tile.input_scales};
  Targets centers{tile.center_rows, tile.center_scales};
  Targets negatives{tile.negative_rows, tile.negative_scales};
  if (tile.sum_rows == nullptr) return amx_update<Rows, Rows>(layout, inputs, centers, negatives, random, prefetch);
  inputs.rows = tile.sum_rows;
  centers.rows = inputs.rows + kPositions;
  negatives.rows = centers.rows + tile_center_rows(tile.window);
  amx_update<Rows, StoredSums>(layout, inputs, centers, negatives, random, prefetch);
}

void amx_sgns_tile(const SgnsTile& tile) noexcept {
  switch (tile.row_format) {
    case RowFormat::kFloat32: return amx_run_tile<Float32Rows>(tile);
    case RowFormat::kBfloat16: return amx_run_tile<Bfloat16Rows>(tile);
    case RowFormat::kFloat16: return amx_run_tile<Float16Rows>(tile);
  }
}

}  // namespace
}  // namespace fastembed
