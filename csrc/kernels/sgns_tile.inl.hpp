// Skip-gram with negative sampling for a tile of 64 positions at once: scores, gradients and both updates as banded
// matrix products. Rows are packed into the workspace first; every product ends in registers and is consumed there.
// Called by the tile trainer.
#pragma once

#include "kernels/logistic.inl.hpp"
#include "kernels/sgns_tile_layout.inl.hpp"

namespace fastembed {
namespace {

// log(x) for x >= 1: exponent and the series of artanh, relative error below 2^-22 for x - 1 not tiny.
[[gnu::always_inline]] inline Vec::Reg logarithm(Vec::Reg x) noexcept {
  using Reg = Vec::Reg;
  Reg mantissa;
  const Reg exponent = Vec::exponent(x, mantissa);
  const Reg one = Vec::broadcast(1.0F);
  const Reg t = Vec::div(Vec::sub(mantissa, one), Vec::add(mantissa, one));
  const Reg t2 = Vec::mul(t, t);
  Reg series = Vec::broadcast(1.0F / 13.0F);
  for (int divisor = 11; divisor > 0; divisor -= 2) {
    series = Vec::fma(series, t2, Vec::broadcast(1.0F / static_cast<float>(divisor)));
  }
  return Vec::fma(exponent, Vec::broadcast(0.693147181F), Vec::mul(Vec::add(t, t), series));
}

// Spreads the prefetches of a tile evenly over its register blocks: in one burst they would fill the line buffers.
class Prefetcher {
 public:
  template <class Tile>
  Prefetcher(const Tile& tile, std::size_t blocks) noexcept
      : row_(tile.prefetch_rows),
        end_(tile.prefetch_rows + tile.prefetch_count),
        bytes_(tile.depth * (tile.row_format == RowFormat::kFloat32 ? 4 : 2)),
        quota_((tile.prefetch_count + blocks - 1) / blocks) {}

  void advance() noexcept {
    const void* const* const until = static_cast<std::size_t>(end_ - row_) < quota_ ? end_ : row_ + quota_;
    for (; row_ != until; ++row_) {
      const auto* const row = static_cast<const unsigned char*>(*row_);
      for (std::size_t i = 0; i < bytes_; i += kLineBytes) __builtin_prefetch(row + i, 1, 2);
    }
  }

 private:
  static constexpr std::size_t kLineBytes = 64;
  const void* const* row_;
  const void* const* end_;
  std::size_t bytes_;
  std::size_t quota_;
};

// Two rows, both ways, or, where their words serve as they are, for products along the rows.
template <class Product, class Rows>
[[gnu::always_inline]] inline void pack_two(const TileLayout<Product>& layout, void* const* rows, float* by_depth,
                                            float* by_row) noexcept {
  if constexpr (kInWords<Product, Rows>) {
    Product::pack_words(rows[0], rows[1], layout.depth, by_row);
  } else {
    Product::template pack_rows<Rows>(rows[0], rows[1], layout.depth, layout.depth_pitch, by_depth, by_row);
  }
}

// The inputs, packed both ways, and turned into columns.
template <class Product, class Rows>
inline void pack_inputs(const TileLayout<Product>& layout) noexcept {
  constexpr std::size_t kFactors = Product::kFactors;
  const SgnsTile& tile = layout.tile;
  const std::size_t depth = layout.depth;
  const std::size_t pitch = layout.depth_pitch;
  for (std::size_t i = 0; i < kPositions; i += 2) {
    pack_two<Product, Rows>(layout, tile.input_rows + i, layout.input_by_depth + i * pitch,
                            layout.input_by_row + i / kFactors * depth);
  }
  for (std::size_t step = 0; step < pitch; step += kLanes) {
    for (std::size_t i = 0; i < kPositions; i += kLanes) {
      Vec::Reg block[kLanes];
      for (std::size_t j = 0; j < kLanes; ++j) {
        if constexpr (kInWords<Product, Rows>) {
          block[j] = Product::load_inputs(tile.input_rows[i + j], kFactors * step, depth);
        } else {
          block[j] = Vec::load(layout.input_by_depth + (i + j) * pitch + step);
        }
      }
      Vec::transpose(block);
      for (std::size_t j = 0; j < kLanes; ++j) {
        Vec::store(layout.input_columns + (step + j) * layout.pitch + layout.halo + i, block[j]);
      }
    }
  }
}

// `count` output rows, which the layout has from `first` on.
template <class Product, class Rows>
inline void pack_outputs(const TileLayout<Product>& layout, void* const* rows, std::size_t count,
                         std::size_t first) noexcept {
  for (std::size_t r = 0; r < count; r += 2) {
    pack_two<Product, Rows>(layout, rows + r, layout.output_by_depth + (first + r) * layout.depth_pitch,
                            layout.output_by_row + (first + r) / Product::kFactors * layout.depth);
  }
}

template <class Product, class Rows>
[[gnu::noinline]] void pack_tile(const TileLayout<Product>& layout) noexcept {
  const SgnsTile& tile = layout.tile;
  pack_inputs<Product, Rows>(layout);
  if constexpr (kReadsInPlace<Product, Rows>) return;
  pack_outputs<Product, Rows>(layout, tile.center_rows, layout.used_centers, 0);
  pack_outputs<Product, Rows>(layout, tile.negative_rows, tile.negative_count, layout.first_negative);
}

// Scores of kBlockRows output rows, the first of `outputs`, against kColumns registers of inputs.
template <class Product, std::size_t kColumns, class Outputs>
[[gnu::always_inline]] inline void score(const TileLayout<Product>& layout, const Outputs& outputs, std::size_t column,
                                         Vec::Reg (&scores)[kBlockRows * kColumns]) noexcept {
  for (auto& sum : scores) sum = Vec::zero();
  const std::size_t steps = (layout.tile.dim + Product::kFactors - 1) / Product::kFactors;
  const float* rows[kBlockRows];
  for (std::size_t r = 0; r < kBlockRows; ++r) rows[r] = outputs[r];
  const float* columns = layout.input_columns + column;
  for (std::size_t step = 0; step < steps; ++step, columns += layout.pitch) {
    typename Product::Operand inputs[kColumns];
    for (std::size_t c = 0; c < kColumns; ++c) inputs[c] = Product::load(columns + c * kLanes);
    for (std::size_t r = 0; r < kBlockRows; ++r) {
      const typename Product::Operand left = Product::broadcast(rows[r] + step);
      for (std::size_t c = 0; c < kColumns; ++c) {
        scores[r * kColumns + c] = Product::multiply_add(left, inputs[c], scores[r * kColumns + c]);
      }
    }
  }
}

// Bit n says whether input first + n is a context of the center whose contexts are `contexts`.
inline std::uint32_t context_bits(std::uint64_t contexts, std::ptrdiff_t first) noexcept {
  if (first <= -64 || first >= 64) return 0;
  return static_cast<std::uint32_t>(first < 0 ? contexts << -first : contexts >> first);
}

// Scores of kBlockRows centers at kLanes inputs: their gradients and their loss.
template <class Product>
[[gnu::always_inline]] inline void finish_centers(const TileLayout<Product>& layout, std::size_t row,
                                                  std::size_t column, const Vec::Reg (&scores)[kBlockRows]) noexcept {
  using Reg = Vec::Reg;
  const SgnsTile& tile = layout.tile;
  make_room(*tile.loss, kBlockRows);
  Reg linear = Vec::load(tile.loss->linear_lanes);
  Reg factors = Vec::load(tile.loss->factor_lanes);
  const Reg rate = Vec::broadcast(tile.learning_rate);
  const Reg one = Vec::broadcast(1.0F);
  const auto first_input = static_cast<std::ptrdiff_t>(column) - static_cast<std::ptrdiff_t>(layout.halo);
  Reg gradients[kBlockRows];
  for (std::size_t r = 0; r < kBlockRows; ++r) {
    const std::uint32_t bits = context_bits(tile.center_contexts[row + r], first_input);
    const Reg z = Vec::sub(Vec::zero(), scores[r]);
    Reg one_plus_e;
    const Reg miss = quick_sigmoid(z, one_plus_e);
    gradients[r] = Vec::choose(bits, Vec::mul(rate, miss), Vec::zero());
    linear = Vec::add(linear, Vec::choose(bits, positive_part(z), Vec::zero()));
    factors = Vec::mul(factors, Vec::choose(bits, one_plus_e, one));
  }
  Product::store_gradients(gradients, layout.pitch, layout.by_input(row, column), layout.by_row(row, column));
  Vec::store(tile.loss->linear_lanes, linear);
  Vec::store(tile.loss->factor_lanes, factors);
}

// Blocks of centers are scored two at a time: one alone has too few independent sums for the latency of a product.
template <class Product, class Rows>
[[gnu::noinline]] void score_centers(const TileLayout<Product>& layout, Prefetcher& prefetch) noexcept {
  const auto centers = centers_by_depth<Product, Rows>(layout);
  const std::size_t steps = (layout.tile.dim + Product::kFactors - 1) / Product::kFactors;
  for (std::size_t row = 0; row < layout.used_centers; row += 2 * kBlockRows) {
    prefetch.advance();
    prefetch.advance();
    const std::size_t other = row + kBlockRows < layout.used_centers ? row + kBlockRows : row;
    // The columns of a block begin at input row - 2 * window, or up to three before.
    for (std::size_t lane = 0; lane < layout.band; lane += kLanes) {
      Vec::Reg first[kBlockRows];
      Vec::Reg second[kBlockRows];
      for (std::size_t r = 0; r < kBlockRows; ++r) first[r] = second[r] = Vec::zero();
      const float *a[kBlockRows], *b[kBlockRows];
      for (std::size_t r = 0; r < kBlockRows; ++r) {
        a[r] = centers[row + r];
        b[r] = centers[other + r];
      }
      const float* a_columns = layout.input_columns + layout.lead + row + lane;
      const float* b_columns = layout.input_columns + layout.lead + other + lane;
      for (std::size_t step = 0; step < steps; ++step, a_columns += layout.pitch, b_columns += layout.pitch) {
        const auto a_inputs = Product::load(a_columns);
        const auto b_inputs = Product::load(b_columns);
        for (std::size_t r = 0; r < kBlockRows; ++r) {
          first[r] = Product::multiply_add(Product::broadcast(a[r] + step), a_inputs, first[r]);
          second[r] = Product::multiply_add(Product::broadcast(b[r] + step), b_inputs, second[r]);
        }
      }
      finish_centers(layout, row, layout.lead + row + lane, first);
      if (other != row) finish_centers(layout, other, layout.lead + other + lane, second);
    }
  }
}

constexpr std::size_t kFactorsPerFloat = 64;  // at most 64 factors of at most 2 fit a float

// Folds the products of the negatives' loss.
template <class Product>
inline void fold_negative_loss(const TileLayout<Product>& layout) noexcept {
  Vec::Reg sum = Vec::zero();
  for (std::size_t i = 0; i < kPositions; i += kLanes) {
    const Vec::Reg loss = Vec::add(Vec::load(layout.linear + i), logarithm(Vec::load(layout.factor + i)));
    sum = Vec::fma(loss, Vec::load(layout.tile.input_weights + i), sum);
    Vec::store(layout.linear + i, Vec::zero());
    Vec::store(layout.factor + i, Vec::broadcast(1.0F));
  }
  layout.tile.loss->total += static_cast<double>(Vec::sum(sum));
}

// One register of inputs against kBlockRows negatives: the gradients and the loss.
template <class Product>
[[gnu::always_inline]] inline void finish_negatives(const TileLayout<Product>& layout, std::size_t negative,
                                                    std::size_t input, const Vec::Reg (&scores)[kBlockRows]) noexcept {
  using Reg = Vec::Reg;
  const SgnsTile& tile = layout.tile;
  const Reg minus_rate = Vec::broadcast(-tile.learning_rate);
  const Reg shared = Vec::load(tile.input_weights + input);
  Reg linear = Vec::load(layout.linear + input);
  Reg factors = Vec::load(layout.factor + input);
  Reg gradients[kBlockRows];
  for (std::size_t r = 0; r < kBlockRows; ++r) {
    Reg one_plus_e;
    const Reg probability = quick_sigmoid(scores[r], one_plus_e);
    const float* const special = tile.special_weights[negative + r];
    Reg weight = shared;
    const Reg linear_part = positive_part(scores[r]);
    if (special == nullptr) [[likely]] {
      linear = Vec::add(linear, linear_part);
      factors = Vec::mul(factors, one_plus_e);
    } else {
      weight = Vec::load(special + input);
      const Reg loss = Vec::mul(weight, Vec::add(linear_part, logarithm(one_plus_e)));
      tile.loss->total += static_cast<double>(Vec::sum(loss));
    }
    gradients[r] = Vec::mul(Vec::mul(minus_rate, weight), probability);
  }
  Vec::store(layout.linear + input, linear);
  Vec::store(layout.factor + input, factors);
  const std::size_t row = layout.first_negative + negative;
  const std::size_t column = layout.halo + input;
  Product::store_gradients(gradients, layout.pitch, layout.by_input(row, column), layout.by_row(row, column));
}

template <class Product>
inline void clear_negative_loss(const TileLayout<Product>& layout) noexcept {
  for (std::size_t i = 0; i < kPositions; i += kLanes) {
    Vec::store(layout.linear + i, Vec::zero());
    Vec::store(layout.factor + i, Vec::broadcast(1.0F));
  }
}

template <class Product, class Rows>
[[gnu::noinline]] void score_negatives(const TileLayout<Product>& layout, Prefetcher& prefetch) noexcept {
  constexpr std::size_t kColumns = kMostColumns < 4 ? kMostColumns : 4;
  const auto negatives = negatives_by_depth<Product, Rows>(layout);
  clear_negative_loss(layout);
  for (std::size_t negative = 0; negative < layout.tile.negative_count; negative += kBlockRows) {
    prefetch.advance();
    if (negative % kFactorsPerFloat == 0 && negative != 0) fold_negative_loss(layout);
    for (std::size_t input = 0; input < kPositions; input += kColumns * kLanes) {
      Vec::Reg scores[kBlockRows * kColumns];
      score<Product, kColumns>(layout, negatives.from(negative), layout.halo + input, scores);
      for (std::size_t c = 0; c < kColumns; ++c) {
        Vec::Reg column[kBlockRows];
        for (std::size_t r = 0; r < kBlockRows; ++r) column[r] = scores[r * kColumns + c];
        finish_negatives(layout, negative, input + c * kLanes, column);
      }
    }
  }
  fold_negative_loss(layout);
}

// Rows of a matrix and the scales of their updates, or null.
struct Targets {
  void* const* rows;
  const float* scales;

  [[nodiscard]] Targets from(std::size_t row) const noexcept {
    return {rows + row, scales == nullptr ? nullptr : scales + row};
  }
};

// Adds the sums of a block to rows of a matrix; kOfWords: in the order in which the Product takes words of a row. A row
// may repeat, so it is read here and not before.
template <class Product, class Rows, bool kOfWords, std::size_t kColumns, std::size_t kSums>
[[gnu::always_inline]] inline void add_to_rows(const Targets& targets, std::size_t at, Vec::Reg (&sums)[kSums],
                                               RoundingBits& random) noexcept {
  constexpr std::size_t kRows = kSums / kColumns;
  if (targets.scales != nullptr) [[unlikely]] {
    for (std::size_t r = 0; r < kRows; ++r) {
      const Vec::Reg scale = Vec::broadcast(targets.scales[r]);
      for (std::size_t c = 0; c < kColumns; ++c) sums[r * kColumns + c] = Vec::mul(scale, sums[r * kColumns + c]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    auto* const row = static_cast<typename Rows::Element*>(targets.rows[r]) + at;
    if constexpr (kOfWords) {
      Product::template add_in_words<Rows, kColumns>(row, sums + r * kColumns, random);
    } else {
      for (std::size_t c = 0; c < kColumns; ++c) Rows::add(row + c * kLanes, sums[r * kColumns + c], random);
    }
  }
}

// Rows is the format of what is read, To that of the updated rows, or StoredSums.
template <class Product, class Rows, class To>
[[gnu::noinline]] void update_inputs(const TileLayout<Product>& layout, const Targets& inputs, Prefetcher& prefetch,
                                     RoundingBits& random) noexcept {
  constexpr std::size_t kFactors = Product::kFactors;
  const SgnsTile& tile = layout.tile;
  const auto negatives = negatives_by_row<Product, Rows>(layout);
  const auto centers = centers_by_row<Product, Rows>(layout);
  for (std::size_t input = 0; input < kPositions; input += kBlockRows) {
    prefetch.advance();
    const std::size_t vectors = layout.depth / kLanes;
    for_column_runs<kInWords<Product, Rows>>(
        vectors, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
          constexpr std::size_t kColumns = decltype(count)::value;
          const std::size_t at = vector * kLanes;
          Vec::Reg sums[kBlockRows * kColumns];
          for (auto& sum : sums) sum = Vec::zero();
          accumulate<Product, kBlockRows, kColumns>(sums, layout.by_row(layout.first_negative, layout.halo + input),
                                                    layout.pitch, 1, negatives, at, tile.negative_count / kFactors);
          // Center j has contexts j - 2 * window .. j in terms of inputs.
          accumulate<Product, kBlockRows, kColumns>(sums, layout.by_row(input, layout.halo + input), layout.pitch, 1,
                                                    centers.from(input / kFactors), at, layout.band_rows / kFactors);
          add_to_rows<Product, To, kInWords<Product, Rows>, kColumns>(inputs.from(input), at, sums, random);
        });
  }
}

// Adds to kBlockRows output rows the inputs [begin, end) by the gradients of rows row .. row + kBlockRows - 1.
template <class Product, class Rows, class To>
[[gnu::always_inline]] inline void update_output_block(const TileLayout<Product>& layout, std::size_t row,
                                                       const Targets& targets, std::size_t begin, std::size_t end,
                                                       RoundingBits& random) noexcept {
  constexpr std::size_t kFactors = Product::kFactors;
  const std::size_t depth = layout.depth;
  for_column_runs<kInWords<Product, Rows>>(
      depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
        constexpr std::size_t kColumns = decltype(count)::value;
        const std::size_t at = vector * kLanes;
        Vec::Reg sums[kBlockRows * kColumns];
        for (auto& sum : sums) sum = Vec::zero();
        accumulate<Product, kBlockRows, kColumns>(
            sums, layout.by_input(row, layout.halo + begin), 1, layout.pitch / kFactors,
            RowsInOrder{layout.input_by_row + begin / kFactors * depth, depth}, at, (end - begin) / kFactors);
        add_to_rows<Product, To, kInWords<Product, Rows>, kColumns>(targets, at, sums, random);
      });
}

template <class Product, class Rows, class To>
[[gnu::noinline]] void update_outputs(const TileLayout<Product>& layout, const Targets& centers,
                                      const Targets& negatives, Prefetcher& prefetch, RoundingBits& random) noexcept {
  const SgnsTile& tile = layout.tile;
  const std::size_t reach = 2 * std::size_t{tile.window};
  for (std::size_t row = 0; row < layout.used_centers; row += kBlockRows) {
    prefetch.advance();
    const std::size_t begin = row > reach ? row - reach : 0;
    const std::size_t end = row + kBlockRows < kPositions ? row + kBlockRows : kPositions;
    if (begin < end) update_output_block<Product, Rows, To>(layout, row, centers.from(row), begin, end, random);
  }
  for (std::size_t negative = 0; negative < tile.negative_count; negative += kBlockRows) {
    prefetch.advance();
    update_output_block<Product, Rows, To>(layout, layout.first_negative + negative, negatives.from(negative), 0,
                                           kPositions, random);
  }
}

template <class Product, class Rows>
void run_tile(const SgnsTile& tile) noexcept {
  const TileLayout<Product> layout(tile);
  Prefetcher prefetch(tile, (2 * (layout.used_centers + tile.negative_count) + kPositions) / kBlockRows);
  RoundingBits random(tile.rounding_seed);
  pack_tile<Product, Rows>(layout);
  score_centers<Product, Rows>(layout, prefetch);
  score_negatives<Product, Rows>(layout, prefetch);
  Targets inputs{tile.input_rows, tile.input_scales};
  Targets centers{tile.center_rows, tile.center_scales};
  Targets negatives{tile.negative_rows, tile.negative_scales};
  if (tile.sum_rows != nullptr) {
    inputs.rows = tile.sum_rows;
    centers.rows = inputs.rows + kPositions;
    negatives.rows = centers.rows + tile_center_rows(tile.window);
    update_inputs<Product, Rows, StoredSums>(layout, inputs, prefetch, random);
    update_outputs<Product, Rows, StoredSums>(layout, centers, negatives, prefetch, random);
    return;
  }
  update_inputs<Product, Rows, Rows>(layout, inputs, prefetch, random);
  update_outputs<Product, Rows, Rows>(layout, centers, negatives, prefetch, random);
}

template <class Product>
void sgns_tile(const SgnsTile& tile) noexcept {
  switch (tile.row_format) {
    case RowFormat::kFloat32: return run_tile<Product, Float32Rows>(tile);
    case RowFormat::kBfloat16: return run_tile<Product, Bfloat16Rows>(tile);
    case RowFormat::kFloat16: return run_tile<Product, Float16Rows>(tile);
  }
}

}  // namespace
}  // namespace fastembed
