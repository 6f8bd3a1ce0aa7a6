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

/// The positions of a chunk that subsampling leaves, with their windows. Bounds are indices into `kept`.
struct ChunkLayout {
  struct Kept {
    std::int64_t position = 0;
    std::int32_t word = 0;
    std::int32_t context_begin = 0;  // the context range of this center
    std::int32_t context_end = 0;
  };

  std::vector<Kept> kept;  // the first kept_count are in use
  std::size_t kept_count = 0;
  std::vector<std::int32_t> windows;  // by kept position: how many windows hold it
  std::int64_t token_count = 0;       // raw ones
  std::int64_t positive_count = 0;
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
    std::vector<std::int32_t> center_words;
    std::vector<float> center_loads;  // contexts within the tile
    std::vector<void*> negative_rows;
    std::vector<std::int32_t> negatives;
    std::vector<const float*> special_weights;
    std::array<float, kCbowGroups> negative_loads{};  // the weight of all pairs of a negative, by group
    std::vector<std::int32_t> input_words;            // CBOW: of the context rows
    std::vector<float> input_loads;                   // see weigh_rows
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
  void prepare(Tile& tile, std::size_t first);
  void prepare_skip_gram(Tile& tile, std::size_t first);
  void prepare_cbow(Tile& tile, std::size_t first);
  void weigh_rows(Tile& tile);
  void clear_loads(const Tile& tile) noexcept;
  void leave_out_centers(Tile& tile, std::uint32_t negative);
  void set_scales(Tile& tile, float bound, float most_occurrences);
  void list_prefetches(const Tile& next);
  void list_targets(const Tile& tile, std::size_t first, TileSums& sums) const;
  void list_cbow_targets(const Tile& tile, TileSums& sums) const;
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
  struct InputLoad {
    float weight;
    float occurrences;
  };
  InputLoad input_loads_[512] = {};
  float output_loads_[1024] = {};
  [[nodiscard]] static std::size_t input_slot(std::int32_t word) noexcept { return std::size_t(word) % 512; }
  [[nodiscard]] static std::size_t output_slot(std::int32_t word) noexcept { return std::size_t(word) % 1024; }
  std::vector<float> shares_;
  std::vector<float> special_;
  std::vector<const void*> prefetch_rows_;
  support::AlignedBuffer<unsigned char> padding_row_;
  support::AlignedBuffer<float> workspace_;
  LossSum loss_{};
  EpochTotals totals_;
};

}  // namespace fastembed::train
