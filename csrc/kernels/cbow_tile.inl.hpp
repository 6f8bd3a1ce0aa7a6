// CBOW with negative sampling for a tile of 64 centers at once. Each center meets the negatives of its group alone, and
// neighbours belong to different groups, so products are few (a sixth of a skip-gram tile's) while a context row still
// sees the negatives of all groups. Means, errors and what a center has to do with its own row are float32; products
// with the negatives go through a Product. Called by the tile trainer.
#pragma once

#include "kernels/sgns_tile.inl.hpp"

namespace fastembed {
namespace {

constexpr std::size_t kRowColumns = 8;  // registers of one row at a time
constexpr std::size_t kStretch = 16;    // consecutive centers that are scored together
constexpr std::size_t kStretches = kPositions / kStretch;
constexpr std::size_t kBlockCenters = kStretch / kCbowGroups;  // centers of one group in a stretch
constexpr std::size_t kQuad = 4;                               // negatives of a block
constexpr std::size_t kScores = kBlockCenters * kQuad;         // of a block: those of a center side by side
static_assert(kBlockCenters == kBlockRows && kQuad == kBlockRows && kBlockCenters % Vec::kContextBlock == 0);

// The workspace, laid out for one tile. Means are kept in slots: those of a block side by side.
template <class Product>
struct CbowLayout {
  static constexpr std::size_t kFactors = Product::kFactors;

  explicit CbowLayout(const CbowTile& step) noexcept
      : tile(step),
        depth(step.depth),
        depth_pitch(kFactors == 1 ? depth : tile_round_up(depth / kFactors, 16)),
        quads(step.negative_count / kCbowGroups / kQuad),
        running_mask(cbow_running_sums(step.window) - 1) {
    float* free = step.workspace;
    const auto take = [&free](std::size_t floats) {
      float* const taken = free;
      free += floats;
      return taken;
    };
    running = take((running_mask + 1) * depth);
    hidden = take(kPositions * depth);
    error = take(kPositions * depth);
    negative_by_depth = take(step.negative_count * depth_pitch);
    negative_by_row = kFactors == 1 ? negative_by_depth : take(step.negative_count / kFactors * depth);
    hidden_by_depth = kFactors == 1 ? hidden : take(kPositions * depth_pitch);
    hidden_by_row = kFactors == 1 ? hidden : take(kPositions / kFactors * depth);
    gradients = take(kStretches * kCbowGroups * quads * kScores);
    scores = kFactors == 1 ? gradients : take(kCbowGroups * quads * kScores);
  }

  // Center c of the block of group g in stretch b, and the slot of its mean.
  [[nodiscard]] static constexpr std::size_t center(std::size_t b, std::size_t g, std::size_t c) noexcept {
    return b * kStretch + g + c * kCbowGroups;
  }
  [[nodiscard]] static constexpr std::size_t slot(std::size_t b, std::size_t g, std::size_t c) noexcept {
    return b * kStretch + g * kBlockCenters + c;
  }
  [[nodiscard]] static constexpr std::size_t slot_of(std::size_t center) noexcept {
    return slot(center / kStretch, center % kCbowGroups, center % kStretch / kCbowGroups);
  }
  [[nodiscard]] std::size_t negative(std::size_t g, std::size_t q) const noexcept { return (g * quads + q) * kQuad; }
  [[nodiscard]] float* block_gradients(std::size_t b, std::size_t g, std::size_t q) const noexcept {
    return gradients + ((b * kCbowGroups + g) * quads + q) * kScores;
  }
  // Scores are kept for one stretch only, unless they become the gradients in place.
  [[nodiscard]] float* block_scores(std::size_t b, std::size_t g, std::size_t q) const noexcept {
    return kFactors == 1 ? block_gradients(b, g, q) : scores + (g * quads + q) * kScores;
  }

  const CbowTile& tile;
  std::size_t depth;
  std::size_t depth_pitch;   // elements of a row packed by depth
  std::size_t quads;         // of negatives, in each group
  std::size_t running_mask;  // sum c is row c & running_mask of `running`
  float* running;            // sums of the context rows before context c
  float* hidden;             // the means, by slot
  float* error;              // what moves the contexts of each center, by center
  float* negative_by_depth;  // element (negative, step of depth)
  float* negative_by_row;    // element (step of negatives, column of depth)
  float* hidden_by_depth;    // element (slot, step of depth)
  float* hidden_by_row;      // element (step of slots, column of depth)
  float* gradients;          // of means with their negatives, by block, as Product::store_block leaves them
  float* scores;             // element (center, negative), by block
  float own[kPositions];     // gradients of the means with their own centers
};

// Where the updates go: to the rows of the model, or to sums that are added later.
struct CbowTargets {
  void* const* contexts;
  void* const* negatives;
  void* const* centers;
};

inline CbowTargets cbow_targets(const CbowTile& tile) noexcept {
  if (tile.sum_rows == nullptr) return {tile.context_rows, tile.negative_rows, tile.center_rows};
  void* const* const negatives = tile.sum_rows + kPositions + 2 * std::size_t{tile.window};
  return {tile.sum_rows, negatives, negatives + tile.negative_count};
}

// Running sums of the context rows [begin, end): that of the contexts before c, from c = begin + 1 to end. A window's
// sum is the difference of two, whatever its width, and nothing branches on where windows end.
template <class Product, class Rows>
[[gnu::always_inline]] inline void extend_running_sums(const CbowLayout<Product>& layout, std::size_t begin,
                                                       std::size_t end) noexcept {
  const std::size_t depth = layout.depth;
  const auto sum_before = [&](std::size_t c) { return layout.running + (c & layout.running_mask) * depth; };
  for_runs<kRowColumns>(depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
    constexpr std::size_t kColumns = decltype(count)::value;
    const std::size_t at = vector * kLanes;
    Vec::Reg sums[kColumns];
    for (std::size_t v = 0; v < kColumns; ++v) {
      if (begin == 0) Vec::store(sum_before(0) + at + v * kLanes, Vec::zero());
      sums[v] = Vec::load(sum_before(begin) + at + v * kLanes);
    }
    for (std::size_t c = begin; c < end; ++c) {
      const auto* const row = static_cast<const typename Rows::Element*>(layout.tile.context_rows[c]) + at;
      float* const to = sum_before(c + 1) + at;
      for (std::size_t v = 0; v < kColumns; ++v) {
        sums[v] = Vec::add(sums[v], Rows::load(row + v * kLanes));
        Vec::store(to + v * kLanes, sums[v]);
      }
    }
  });
}

// The mean (or sum) of center j's contexts, and its product with the center's row.
template <class Product, class Rows>
[[gnu::always_inline]] inline float make_mean(const CbowLayout<Product>& layout, std::size_t j) noexcept {
  const CbowTile& tile = layout.tile;
  const std::size_t depth = layout.depth;
  const float* const before = layout.running + (tile.context_begin[j] & layout.running_mask) * depth;
  const float* const after = layout.running + (tile.context_end[j] & layout.running_mask) * depth;
  const auto* const self = static_cast<const typename Rows::Element*>(tile.context_rows[j + tile.window]);
  const auto* const center = static_cast<const typename Rows::Element*>(tile.center_rows[j]);
  float* const hidden = layout.hidden + CbowLayout<Product>::slot_of(j) * depth;
  const Vec::Reg scale = Vec::broadcast(tile.hidden_scale[j]);
  Vec::Reg product = Vec::zero();
  for (std::size_t i = 0; i < depth; i += kLanes) {
    const Vec::Reg window = Vec::sub(Vec::load(after + i), Vec::load(before + i));
    const Vec::Reg mean = Vec::mul(scale, Vec::sub(window, Rows::load(self + i)));
    Vec::store(hidden + i, mean);
    product = Vec::fma(mean, Rows::load(center + i), product);
  }
  return Vec::sum(product);
}

// Scores of a stretch's means with their own centers, in place to gradients; adds the loss.
template <class Product>
inline void finish_means(CbowLayout<Product>& layout, std::size_t first) noexcept {
  using Reg = Vec::Reg;
  float* const gradients = layout.own;
  const CbowTile& tile = layout.tile;
  make_room(*tile.loss, kStretch / kLanes);
  Reg linear = Vec::load(tile.loss->linear_lanes);
  Reg factors = Vec::load(tile.loss->factor_lanes);
  const Reg one = Vec::broadcast(1.0F);
  for (std::size_t j = first; j < first + kStretch; j += kLanes) {
    const auto used = static_cast<std::uint32_t>(tile.centers >> j);
    const Reg z = Vec::sub(Vec::zero(), Vec::load(gradients + j));
    Reg one_plus_e;
    const Reg miss = Vec::mul(Vec::broadcast(tile.learning_rate), quick_sigmoid(z, one_plus_e));
    Vec::store(gradients + j, Vec::choose(used, miss, Vec::zero()));
    linear = Vec::add(linear, Vec::choose(used, positive_part(z), Vec::zero()));
    factors = Vec::mul(factors, Vec::choose(used, one_plus_e, one));
  }
  Vec::store(tile.loss->linear_lanes, linear);
  Vec::store(tile.loss->factor_lanes, factors);
}

// The means of a stretch, and their scores with their own centers.
template <class Product, class Rows>
[[gnu::noinline]] void make_means(CbowLayout<Product>& layout, std::size_t b, Prefetcher& prefetch) noexcept {
  const std::size_t first = b * kStretch;
  const std::size_t reach = 2 * std::size_t{layout.tile.window};
  extend_running_sums<Product, Rows>(layout, b == 0 ? 0 : first + reach, first + kStretch + reach);
  for (std::size_t j = first; j < first + kStretch; ++j) {
    prefetch.advance();
    layout.own[j] = make_mean<Product, Rows>(layout, j);
  }
}

// Rows of the negatives: they are read by every stretch.
template <class Product, class Rows>
inline void pack_negatives(const CbowLayout<Product>& layout) noexcept {
  for (std::size_t k = 0; k < layout.tile.negative_count; k += 2) {
    Product::template pack_rows<Rows>(layout.tile.negative_rows[k], layout.tile.negative_rows[k + 1], layout.depth,
                                      layout.depth_pitch, layout.negative_by_depth + k * layout.depth_pitch,
                                      layout.negative_by_row + k / Product::kFactors * layout.depth);
  }
}

// The means of a stretch, unless they serve as they are.
template <class Product>
inline void pack_means(const CbowLayout<Product>& layout, std::size_t b) noexcept {
  if constexpr (Product::kFactors != 1) {
    for (std::size_t slot = b * kStretch; slot < (b + 1) * kStretch; slot += 2) {
      const float* const mean = layout.hidden + slot * layout.depth;
      Product::template pack_rows<Float32Rows>(mean, mean + layout.depth, layout.depth, layout.depth_pitch,
                                               layout.hidden_by_depth + slot * layout.depth_pitch,
                                               layout.hidden_by_row + slot / Product::kFactors * layout.depth);
    }
  }
}

// A block of means against a quad of negatives.
template <class Product>
[[gnu::always_inline]] inline void score_quad(const CbowLayout<Product>& layout, std::size_t slot, std::size_t negative,
                                              float* scores) noexcept {
  constexpr std::size_t kCenters = Vec::kContextBlock;
  const std::size_t pitch = layout.depth_pitch;
  const float* const negatives = layout.negative_by_depth + negative * pitch;
  for (std::size_t first = 0; first < kBlockCenters; first += kCenters) {
    const float* const means = layout.hidden_by_depth + (slot + first) * pitch;
    Vec::Reg sums[kCenters * kQuad];
    for (auto& sum : sums) sum = Vec::zero();
    for (std::size_t i = 0; i < pitch; i += kLanes) {
      typename Product::Operand rows[kQuad];
      for (std::size_t n = 0; n < kQuad; ++n) rows[n] = Product::load(negatives + n * pitch + i);
      for (std::size_t c = 0; c < kCenters; ++c) {
        const auto mean = Product::load(means + c * pitch + i);
        for (std::size_t n = 0; n < kQuad; ++n) {
          sums[c * kQuad + n] = Product::multiply_add(mean, rows[n], sums[c * kQuad + n]);
        }
      }
    }
    Vec::store_sums(sums, scores + first * kQuad);
  }
}

// Bit c * kQuad + n says whether negative n of a quad counts for center c of the block.
inline std::uint32_t counted_pairs(const CbowTile& tile, std::size_t negative, std::size_t first_center) noexcept {
  std::uint32_t bits = 0;
  for (std::size_t n = 0; n < kQuad; ++n) {
    bits |= static_cast<std::uint32_t>(tile.negative_centers[negative + n] >> first_center & 0x1111U) << n;
  }
  return bits;
}

// The loss of the negatives, whose weight is not 1.
class NegativeLoss {
 public:
  [[gnu::always_inline]] void add(std::uint32_t bits, Vec::Reg score, Vec::Reg one_plus_e) noexcept {
    linear_ = Vec::add(linear_, Vec::choose(bits, positive_part(score), Vec::zero()));
    factors_ = Vec::mul(factors_, Vec::choose(bits, one_plus_e, Vec::broadcast(1.0F)));
    if (++count_ == kFactorsPerFloat) fold();
  }
  void drain(const CbowTile& tile) noexcept {
    fold();
    tile.loss->total += static_cast<double>(tile.negative_weight * Vec::sum(linear_));
  }

 private:
  void fold() noexcept {
    linear_ = Vec::add(linear_, logarithm(factors_));
    factors_ = Vec::broadcast(1.0F);
    count_ = 0;
  }

  Vec::Reg linear_ = Vec::zero();
  Vec::Reg factors_ = Vec::broadcast(1.0F);
  std::size_t count_ = 0;
};

// A stretch's scores with the negatives, and the gradients of all its scores. Scores come first, and then their
// sigmoids, which do not wait for each other.
template <class Product>
[[gnu::noinline]] void score_stretch(CbowLayout<Product>& layout, std::size_t b, Prefetcher& prefetch,
                                     NegativeLoss& loss) noexcept {
  const CbowTile& tile = layout.tile;
  pack_means(layout, b);
  for (std::size_t g = 0; g < kCbowGroups; ++g) {
    for (std::size_t q = 0; q < layout.quads; ++q) {
      prefetch.advance();
      score_quad(layout, layout.slot(b, g, 0), layout.negative(g, q), layout.block_scores(b, g, q));
    }
  }
  finish_means(layout, b * kStretch);
  const Vec::Reg minus_rate = Vec::broadcast(-tile.learning_rate * tile.negative_weight);
  for (std::size_t g = 0; g < kCbowGroups; ++g) {
    for (std::size_t q = 0; q < layout.quads; ++q) {
      const std::uint32_t bits = counted_pairs(tile, layout.negative(g, q), layout.center(b, g, 0));
      const float* const scores = layout.block_scores(b, g, q);
      for (std::size_t lane = 0; lane < kScores; lane += kLanes) {
        const Vec::Reg score = Vec::load(scores + lane);
        Vec::Reg one_plus_e;
        const Vec::Reg probability = quick_sigmoid(score, one_plus_e);
        const Vec::Reg gradient = Vec::choose(bits >> lane, Vec::mul(minus_rate, probability), Vec::zero());
        Product::store_block(gradient, layout.block_gradients(b, g, q) + lane);
        loss.add(bits >> lane, score, one_plus_e);
      }
    }
  }
}

// The errors of a stretch's means, of their own centers and of the negatives: what each of their contexts moves by.
template <class Product, class Rows>
[[gnu::noinline]] void make_errors(const CbowLayout<Product>& layout, std::size_t b) noexcept {
  constexpr std::size_t kFactors = Product::kFactors;
  const CbowTile& tile = layout.tile;
  const std::size_t depth = layout.depth;
  for (std::size_t g = 0; g < kCbowGroups; ++g) {
    for_runs<kMostColumns>(depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
      constexpr std::size_t kColumns = decltype(count)::value;
      const std::size_t at = vector * kLanes;
      Vec::Reg sums[kBlockCenters * kColumns];
      for (std::size_t c = 0; c < kBlockCenters; ++c) {
        const std::size_t j = layout.center(b, g, c);
        const auto* const center = static_cast<const typename Rows::Element*>(tile.center_rows[j]) + at;
        const Vec::Reg gradient = Vec::broadcast(layout.own[j]);
        for (std::size_t v = 0; v < kColumns; ++v) {
          sums[c * kColumns + v] = Vec::mul(gradient, Rows::load(center + v * kLanes));
        }
      }
      for (std::size_t q = 0; q < layout.quads; ++q) {
        accumulate<Product, kBlockCenters, kColumns>(
            sums, layout.block_gradients(b, g, q), 1, kQuad / kFactors,
            RowsInOrder{layout.negative_by_row + layout.negative(g, q) / kFactors * depth, depth}, at,
            kQuad / kFactors);
      }
      for (std::size_t c = 0; c < kBlockCenters; ++c) {
        const std::size_t j = layout.center(b, g, c);
        if (tile.gradient_scale != nullptr) {
          const Vec::Reg scale = Vec::broadcast(tile.gradient_scale[j]);
          for (std::size_t v = 0; v < kColumns; ++v) sums[c * kColumns + v] = Vec::mul(scale, sums[c * kColumns + v]);
        }
        float* const error = layout.error + j * depth + at;
        for (std::size_t v = 0; v < kColumns; ++v) Vec::store(error + v * kLanes, sums[c * kColumns + v]);
      }
    });
  }
}

// Adds (or takes off) the errors of the centers that `bits` names.
template <bool kAdd, std::size_t kColumns>
[[gnu::always_inline]] inline void add_errors(Vec::Reg (&sums)[kColumns], std::uint64_t bits, const float* errors,
                                              std::size_t depth) noexcept {
  for (; bits != 0; bits &= bits - 1) {
    const float* const error = errors + static_cast<std::size_t>(__builtin_ctzll(bits)) * depth;
    for (std::size_t v = 0; v < kColumns; ++v) {
      const Vec::Reg value = Vec::load(error + v * kLanes);
      sums[v] = kAdd ? Vec::add(sums[v], value) : Vec::sub(sums[v], value);
    }
  }
}

// Adds to the context rows the errors of the centers that they are contexts of. The sum over the windows that hold a
// position, its own too, goes from row to row: windows that begin there are added, those that ended are taken off.
template <class Product, class Rows>
[[gnu::noinline]] void update_contexts(const CbowLayout<Product>& layout, void* const* rows, Prefetcher& prefetch,
                                       RoundingBits& random) noexcept {
  const CbowTile tile = layout.tile;
  const std::size_t depth = layout.depth;
  const std::size_t count = kPositions + 2 * std::size_t{tile.window};
  for_runs<kRowColumns>(depth / kLanes, [&](std::size_t vector, auto columns) __attribute__((always_inline)) {
    constexpr std::size_t kColumns = decltype(columns)::value;
    const std::size_t at = vector * kLanes;
    const float* const errors = layout.error + at;
    Vec::Reg sums[kColumns];
    for (auto& sum : sums) sum = Vec::zero();
    std::uint64_t open = 0;
    for (std::size_t c = 0; c < count; ++c) {
      if (vector == 0) prefetch.advance();
      const std::size_t j = c - tile.window;  // wraps where c is no center
      const std::uint64_t own = j < kPositions ? std::uint64_t{1} << j & tile.centers : 0;
      const std::uint64_t now = tile.context_centers[c] | own;
      add_errors<true>(sums, now & ~open, errors, depth);
      add_errors<false>(sums, open & ~now, errors, depth);
      open = now;
      if (tile.context_centers[c] == 0) continue;
      Vec::Reg moves[kColumns];
      for (std::size_t v = 0; v < kColumns; ++v) moves[v] = sums[v];
      add_errors<false>(moves, own, errors, depth);
      if (tile.context_scales != nullptr) [[unlikely]] {
        const Vec::Reg scale = Vec::broadcast(tile.context_scales[c]);
        for (auto& move : moves) move = Vec::mul(scale, move);
      }
      auto* const row = static_cast<typename Rows::Element*>(rows[c]) + at;
      for (std::size_t v = 0; v < kColumns; ++v) Rows::add(row + v * kLanes, moves[v], random);
    }
  });
}

template <class Product, class Rows>
[[gnu::noinline]] void update_negatives(const CbowLayout<Product>& layout, const Targets& targets, Prefetcher& prefetch,
                                        RoundingBits& random) noexcept {
  constexpr std::size_t kFactors = Product::kFactors;
  // Where the gradients lie by negative, and from one step of centers to the next.
  constexpr std::size_t kOffset = kFactors == 1 ? 0 : kScores / kFactors;
  constexpr std::size_t kRowPitch = kFactors == 1 ? 1 : kBlockCenters / kFactors;
  constexpr std::size_t kStep = kFactors == 1 ? kQuad : 1;
  const std::size_t depth = layout.depth;
  for (std::size_t g = 0; g < kCbowGroups; ++g) {
    for (std::size_t q = 0; q < layout.quads; ++q) {
      prefetch.advance();
      for_runs<kMostColumns>(depth / kLanes, [&](std::size_t vector, auto count) __attribute__((always_inline)) {
        constexpr std::size_t kColumns = decltype(count)::value;
        const std::size_t at = vector * kLanes;
        Vec::Reg sums[kQuad * kColumns];
        for (auto& sum : sums) sum = Vec::zero();
        for (std::size_t b = 0; b < kStretches; ++b) {
          accumulate<Product, kQuad, kColumns>(
              sums, layout.block_gradients(b, g, q) + kOffset, kStep, kRowPitch,
              RowsInOrder{layout.hidden_by_row + layout.slot(b, g, 0) / kFactors * depth, depth}, at,
              kBlockCenters / kFactors);
        }
        add_to_rows<Product, Rows, false, kColumns>(targets.from(layout.negative(g, q)), at, sums, random);
      });
    }
  }
}

template <class Product, class Rows>
[[gnu::noinline]] void update_centers(const CbowLayout<Product>& layout, void* const* rows, Prefetcher& prefetch,
                                      RoundingBits& random) noexcept {
  const CbowTile& tile = layout.tile;
  for (std::size_t j = 0; j < kPositions; ++j) {
    prefetch.advance();
    auto* const center = static_cast<typename Rows::Element*>(rows[j]);
    const float scale = tile.center_scales == nullptr ? 1.0F : tile.center_scales[j];
    const Vec::Reg gradient = Vec::broadcast(scale * layout.own[j]);
    const float* const mean = layout.hidden + layout.slot_of(j) * layout.depth;
    for (std::size_t i = 0; i < layout.depth; i += kLanes) {
      Rows::add(center + i, Vec::mul(gradient, Vec::load(mean + i)), random);
    }
  }
}

// How often a tile prefetches: row by row, as many at once would fill the line buffers.
inline std::size_t prefetch_places(const CbowTile& tile) noexcept {
  return 3 * kPositions + 2 * std::size_t{tile.window} + (kStretches + 1) * std::size_t{tile.negative_count} / kQuad;
}

// `Updated` is the format of the model's rows, or StoredSums.
template <class Product, class Updated>
[[gnu::always_inline]] inline void update_rows(const CbowLayout<Product>& layout, Prefetcher& prefetch) noexcept {
  const CbowTile& tile = layout.tile;
  const CbowTargets targets = cbow_targets(tile);
  RoundingBits random(tile.rounding_seed);
  update_contexts<Product, Updated>(layout, targets.contexts, prefetch, random);
  update_negatives<Product, Updated>(layout, {targets.negatives, tile.negative_scales}, prefetch, random);
  update_centers<Product, Updated>(layout, targets.centers, prefetch, random);
}

template <class Product, class Rows>
void run_cbow_tile(const CbowTile& tile) noexcept {
  CbowLayout<Product> layout(tile);
  Prefetcher prefetch(tile, prefetch_places(tile));
  NegativeLoss loss;
  pack_negatives<Product, Rows>(layout);
  for (std::size_t b = 0; b < kStretches; ++b) {
    make_means<Product, Rows>(layout, b, prefetch);
    score_stretch(layout, b, prefetch, loss);
    make_errors<Product, Rows>(layout, b);
  }
  loss.drain(tile);
  if (tile.sum_rows != nullptr) return update_rows<Product, StoredSums>(layout, prefetch);
  update_rows<Product, Rows>(layout, prefetch);
}

template <class Product>
void cbow_tile(const CbowTile& tile) noexcept {
  switch (tile.row_format) {
    case RowFormat::kFloat32: return run_cbow_tile<Product, Float32Rows>(tile);
    case RowFormat::kBfloat16: return run_cbow_tile<Product, Bfloat16Rows>(tile);
    case RowFormat::kFloat16: return run_cbow_tile<Product, Float16Rows>(tile);
  }
}

}  // namespace
}  // namespace fastembed
