// Training a tile of 64 positions at a time: lays out the windows of a chunk, draws the tile's negatives, and calls
// the tile kernel. Positions are those left by subsampling, pieces one after the other; a halo of `window` centers
// (CBOW: contexts) on each side of a tile keeps every window whole. No SIMD, no Python.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "support/aligned_buffer.hpp"
#include "train/tile_sums.hpp"
#include "train/window_trainer.hpp"

namespace fastembed::train {

/// Negatives of a tile: at least as many as the pairs of one position draw with `"pair"`, so that what an input row
/// sees is as varied; a multiple of kTileRows, at most 256. CBOW: kCbowGroups groups, each of as many as a center draws
/// with `"pair"`, at least 8, or 12 with rows of bfloat16; neighbouring centers meet different groups.
std::uint32_t tile_negative_count(const TrainConfig& config, RowFormat format) noexcept;

/// Slots of a TileSums for one tile: inputs, centers, negatives (CBOW: contexts, negatives, centers).
std::size_t tile_sum_slots(const TrainConfig& config, RowFormat format) noexcept;

/// The positions of a chunk that subsampling leaves, with their windows. The first kept_count entries are in use.
struct ChunkLayout {
  std::vector<std::int32_t> words;
  std::vector<std::int32_t> offsets;         // raw tokens from `begin`
  std::vector<std::int32_t> context_begins;  // the contexts of this center, in kept positions
  std::vector<std::int32_t> context_ends;
  std::vector<std::int32_t> windows;  // how many windows hold the position
  std::size_t kept_count = 0;
  std::int64_t begin = 0;
  std::int64_t token_count = 0;  // raw ones
  std::int64_t positive_count = 0;

  [[nodiscard]] std::int64_t position(std::size_t kept) const noexcept { return begin + offsets[kept]; }
};

/// Bit j is set where center j belongs to the first of the groups of CBOW.
constexpr std::uint64_t kGroupCenters = 0x1111111111111111;

class TileWorker {
 public:
  TileWorker(WindowTrainer& trainer, std::uint32_t epoch);

  /// The totals of earlier parts of the epoch.
  void start_from(const EpochTotals& totals) noexcept;

  void train_chunk(const WindowTrainer::Chunk& chunk, const support::StopFlag& stop);
  [[nodiscard]] EpochTotals totals() const noexcept;

  // For tile_rounds.hpp, whose workers share the layouts and change no row on their own.

  static constexpr std::size_t kNoTile = ~std::size_t{0};

  void lay_windows(const WindowTrainer::Chunk& chunk, ChunkLayout& layout) const;
  /// The chunk whose tiles come next.
  void use(const ChunkLayout& layout) noexcept;
  /// Computes the tile that begins at `first`; its loss and what it adds go to `sums`. `next` is the tile that this
  /// worker will probably be given after it, or kNoTile.
  void sum_tile(std::size_t first, std::size_t next, TileSums& sums);

 private:
  // The step of a row may have this load; see weigh_rows.
  [[nodiscard]] float most_load() const noexcept { return cbow() ? 2.0F : 4.0F; }

  // What the kernel is told about one tile.
  struct Tile {
    std::array<void*, kTilePositions> input_rows{};
    std::array<float, kTilePositions> input_weights{};
    std::vector<void*> center_rows;
    std::vector<std::uint64_t> center_contexts;
    std::vector<void*> negative_rows;
    std::vector<std::int32_t> negatives;
    std::vector<const float*> special_weights;
    std::vector<float> special;  // what they point to
    std::vector<float> input_scales;
    std::vector<float> center_scales;
    std::vector<float> negative_scales;
    bool scaled = false;
    std::uint64_t rounding_seed = 0;
    float learning_rate = 0;
    // CBOW alone, whose inputs are the centers' means: the rows that they are means of, and which centers there are.
    std::uint64_t centers = 0;
    std::vector<std::uint64_t> negative_centers;
    std::vector<void*> context_rows;
    std::vector<std::uint64_t> context_centers;
    std::array<std::uint32_t, kTilePositions> context_begin{};
    std::array<std::uint32_t, kTilePositions> context_end{};
    std::array<float, kTilePositions> hidden_scale{};
    std::array<float, kTilePositions> gradient_scale{};
  };

  void keep_piece(std::int64_t begin, std::int64_t end, ChunkLayout& layout) const;
  // Entries first .. first + count - 1 of a table that is otherwise padding.
  struct Present {
    std::size_t first;
    std::size_t count;
  };
  // The words of the present entries, and the weight of the pairs of each.
  struct Weighed {
    Present rows;
    const std::int32_t* words;
    const float* loads;
  };

  // Of a table with an entry for each kept position from `before` before `first` on, `count` in all.
  [[nodiscard]] Present present(std::size_t first, std::size_t before, std::size_t count) const noexcept;
  void set_rows(void** rows, std::size_t count, Present here, const std::int32_t* words,
                unsigned char* matrix) noexcept;
  void prepare(Tile& tile, std::size_t first);
  void draw_negatives(Tile& tile, std::size_t first);
  void prepare_skip_gram(Tile& tile, std::size_t first);
  void prepare_cbow(Tile& tile, std::size_t first);
  void lay_contexts(Tile& tile, std::size_t first, std::size_t centers);
  void weigh_rows(Tile& tile, const Weighed& inputs, const Weighed& centers,
                  const std::array<float, kCbowGroups>& negative_loads);
  [[nodiscard]] bool weigh_inputs(const Weighed& inputs, float bound, float most_occurrences) noexcept;
  void leave_out_centers(Tile& tile, std::uint32_t negative, const Weighed& centers);
  void leave_out_center(Tile& tile, std::uint32_t negative, std::size_t center) noexcept;
  void scale_inputs(Tile& tile, const Weighed& inputs, float bound, float most_occurrences);
  void scale_outputs(Tile& tile, const Weighed& centers, const std::array<float, kCbowGroups>& negative_loads,
                     float bound);
  void list_prefetches(const Tile& next);
  void list_targets(const Tile& tile, std::size_t first, TileSums& sums) const;
  void list_cbow_targets(const Tile& tile, std::size_t first, TileSums& sums) const;
  void run(const Tile& tile, LossSum& loss, void* const* sum_rows);
  void run_cbow(const Tile& tile, LossSum& loss, void* const* sum_rows);
  [[nodiscard]] bool cbow() const noexcept { return config_.architecture == Architecture::kCbow; }

  WindowTrainer& trainer_;
  const TrainConfig& config_;
  const KernelTable& kernels_;
  std::uint32_t epoch_;
  std::uint64_t token_key_;
  std::uint64_t negative_key_;
  std::uint64_t rounding_key_;
  std::uint32_t negative_count_;
  std::uint32_t group_size_;  // of the negatives of CBOW
  std::size_t center_count_;
  float negative_weight_;  // of one negative for one window that meets it
  ChunkLayout own_layout_;
  const ChunkLayout* layout_ = nullptr;
  std::array<Tile, 2> tiles_;
  std::size_t turn_ = 0;            // which tile is under way, in sum_tile
  std::size_t prepared_ = kNoTile;  // the tile that tiles_[turn_] has been prepared for
  // What a word of the tile may weigh at most, by its number modulo the size: several words may share a slot. Zeros
  // between tiles.
  alignas(64) float input_sums_[512] = {};
  alignas(64) float output_sums_[1024] = {};
  alignas(64) std::uint16_t occurrences_[512] = {};  // CBOW's inputs
  [[nodiscard]] static std::size_t input_slot(std::int32_t word) noexcept { return std::size_t(word) % 512; }
  [[nodiscard]] static std::size_t output_slot(std::int32_t word) noexcept { return std::size_t(word) % 1024; }
  std::vector<float> input_loads_;  // of the tile that is being prepared
  std::vector<float> center_loads_;
  std::vector<float> shares_;
  std::vector<const void*> prefetch_rows_;
  support::AlignedBuffer<unsigned char> padding_row_;
  support::AlignedBuffer<float> workspace_;
  LossSum loss_{};
  EpochTotals totals_;
};

}  // namespace fastembed::train
