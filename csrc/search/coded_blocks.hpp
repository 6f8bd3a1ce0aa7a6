// The scan over codes: which searches use it, blocks of codes against a batch of queries, and when to give it up.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/code_scan.hpp"
#include "search/codes.hpp"
#include "search/collector.hpp"
#include "search/panels.hpp"
#include "search/request.hpp"
#include "search/seeds.hpp"

namespace fastembed::search {

/// Rows that are whole strips of the kernels over codes.
constexpr std::size_t kCodedMultiple = 32;
/// Of codes that panels meet at once on matrix tiles, which take so little time that what comes with every panel of a
/// block tells.
constexpr std::size_t kTileBlockBytes = std::size_t{192} << 10;

/// Whether a search without an index's codes is to code rows on the way.
[[nodiscard]] bool codes_on_the_way(const Request& request) noexcept;

/// Nanoseconds, of one worker, that a candidate of panels costs: its way here, that of its row or of its residuals,
/// what is asked of it, and its place in a list.
[[nodiscard]] constexpr double hit_cost(std::size_t depth, bool refines) noexcept {
  return 50.0 + (refines ? 0.1 : 0.25) * static_cast<double>(depth);
}

class CodedBlocks {
 public:
  /// Of the index's codes, or, where it has none, of codes made on the way.
  CodedBlocks(const KernelTable& kernels, const Request& request, const QueryBatch& batch);

  /// A run of whole groups of rows.
  struct Run {
    std::size_t first = 0;
    std::size_t count = 0;
    std::size_t first_panel = 0, end_panel = 0;  // that are to meet them
    const std::uint8_t* mask = nullptr;          // of these rows, zero where not admitted; or null
    const float* norms = nullptr;                // of these rows, NaN where they are not to be met; null: all are
    Matrix rows;                                 // themselves, to be coded on the way
    const char* ahead = nullptr;                 // what will be wanted soon
    std::size_t ahead_bytes = 0;
  };
  /// One worker's memory.
  struct Room;
  [[nodiscard]] std::unique_ptr<Room> make_room(std::size_t most_rows) const;

  [[nodiscard]] bool on_the_way() const noexcept { return own_space_.has_value(); }
  /// Whether rows first .. first + count - 1 can be met by their codes, and this is thought to be worth it still.
  [[nodiscard]] bool takes(std::size_t first, std::size_t count) const noexcept {
    return first + count <= rows_ && count % kCodeGroup == 0 && !given_up_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t stride() const noexcept { return space_->stride(); }
  [[nodiscard]] bool is_int8() const noexcept { return space_->kind() == CodeKind::kInt8; }
  [[nodiscard]] const std::uint8_t* codes_of(std::size_t row) const noexcept {
    return on_the_way() ? nullptr : request_.codes->at.codes + row * stride();
  }
  /// The batch's queries; null where they cannot be met by codes.
  [[nodiscard]] const QueryCodes* queries() const noexcept { return queries_->usable() ? queries_.get() : nullptr; }
  /// Whether a panel may meet medium codes, for which runs are to be long.
  [[nodiscard]] bool has_medium() const noexcept { return batch_.width() > 1 && queries_->has_partial(); }
  /// Rows of such a run that it meets at a time by whole codes, or in float32.
  [[nodiscard]] std::size_t piece_rows() const noexcept {
    return std::max<std::size_t>(kTileBlockBytes / stride() / kCodedMultiple, 1) * kCodedMultiple;
  }
  /// Thresholds are those of a sample, whose rows are not to be met again; `seeds` stay where they are.
  void begin_with(const Seeds& seeds) noexcept {
    seeds_ = seeds.keys.empty() ? nullptr : &seeds;
    sampled_ = seeds.sampled;
  }
  void scan(const Run& run, Room& room, Collector& collector);
  /// Hands over what scan has kept back; to be called when a worker has met its last rows.
  void take_waiting(Room& room, Collector& collector) const;

 private:
  void list_waiting(Room& room) const;
  // Of a row, or its residuals, that is fetched ahead; it need not begin where a line does.
  [[nodiscard]] std::size_t piece_lines(const Room& room) const noexcept;
  void refine(Room& room) const;
  void scan_panels(const Run& run, const CodesIn& at, std::size_t begin, std::size_t count, Room& room,
                   Collector& collector) const;
  // As scan_codes, by medium codes.
  std::uint32_t scan_medium(const CodeScan& whole, const CodesIn& at, Room& room) const;
  struct Ahead {
    const char* at = nullptr;
    std::size_t bytes = 0;
  };
  [[nodiscard]] Ahead what_follows(const Run& run, const CodesIn& from, std::size_t begin,
                                   std::size_t count) const noexcept;
  void scan_singles(const Run& run, const CodesIn& at, std::size_t begin, std::size_t count, Room& room,
                    Collector& collector) const;
  [[nodiscard]] bool reads_partial(const Room& room, const Collector& collector) const;
  std::uint32_t find_reached(const CodesIn& at, std::size_t query, const CodeThresholds& step, bool coarse,
                             Room& room) const;
  void judge_partial(double coded_hits, double saved, std::size_t count, Room& room) const;
  void add_candidate(const Run& run, std::size_t r, std::size_t query, Room& room) const;
  [[nodiscard]] double rows_a_worker(std::size_t rows, const Room& room) const noexcept;
  [[nodiscard]] double expected_hits(const Room& room, double rate, double rows) const;
  void reconsider(Room& room);
  void give_up();

  const KernelTable& kernels_;
  const Request& request_;
  const QueryBatch& batch_;
  std::optional<CodeSpace> own_space_;
  const CodeSpace* space_ = nullptr;
  std::unique_ptr<QueryCodes> queries_;
  std::size_t rows_ = 0;
  const Seeds* seeds_ = nullptr;
  std::size_t sampled_ = 0;
  std::atomic<bool> given_up_{false};
};

struct CodedBlocks::Room {
  std::size_t ramp = 64;    // rows of the next piece: thresholds rise fast at first, unless a sample has raised them
  std::size_t queries = 0;  // of the panels that meet rows now
  std::size_t met = 0;      // rows so far, and where this was last reconsidered
  std::size_t marked = 0;
  std::size_t met_partially = 0;  // since then
  double hits = 0;                // since then, of whole codes
  double rate = 1;                // before that, a row and query
  bool hits_are_rare = false;     // to judge by the last panel
  bool refines = false;           // candidates are met by their residuals first
  bool waits = true;              // candidates of panels do, until what they ask for has been fetched
  bool partial_pays = false;      // did, when less than whole codes were last met
  std::size_t partial_from = 0;   // rows from which on they are
  support::AlignedBuffer<CodeHit> code_hits;
  support::AlignedBuffer<CodeHits> hit_words;
  support::AlignedBuffer<std::uint8_t> widened;  // strips of medium codes
  std::vector<Candidate> candidates;
  std::vector<std::int32_t> refined;  // their products
  std::vector<const char*> ahead;
  std::vector<float> thresholds, keys, units, row_terms;  // but for the last of all panels
  std::vector<std::int32_t> products;                     // of a single query: of codes of 8 bits, or
  std::vector<float> float_products;                      // of bfloat16
  std::vector<std::uint32_t> reached;                     // rows that those name
  // Codes made on the way.
  support::AlignedBuffer<float> columns;
  support::AlignedBuffer<std::uint8_t> codes;
  std::vector<float> scales, lengths, errors, squares;
};

}  // namespace fastembed::search
