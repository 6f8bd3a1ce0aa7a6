// What a scan hands over: rows that may be among the results of a query, and who takes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "search/bounds.hpp"

namespace fastembed::search {

/// What has been asked of a row so far: itself, in float32; its codes alone, so that it will have to be asked; or codes
/// and residuals, whose bounds take its place.
enum class MetBy : std::uint8_t { kRow, kCodes, kResiduals };

/// A row that may be among the results of a query: its product reached the threshold.
struct Candidate {
  std::size_t query;  // of the batch
  std::int64_t row;
  KeyBounds key;  // but of what was met by its codes alone
  float norm;     // of the row, NaN if not known
  MetBy met_by;
  [[nodiscard]] bool is_rough() const noexcept { return met_by == MetBy::kCodes; }
};

/// Takes a worker's candidates. One object a worker.
class Collector {
 public:
  Collector() = default;
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;
  virtual ~Collector() = default;
  virtual void take(std::span<const Candidate> candidates) = 0;
  /// How many of the best rows are enough; 0: all that reach the threshold.
  [[nodiscard]] virtual std::size_t wanted() const noexcept { return 0; }
  /// Whether bounds as near as residuals give them are of use. Where they are not, it is to be given rough candidates.
  [[nodiscard]] virtual bool takes_refined() const noexcept { return true; }
  /// Rows that the scan cannot judge, to be met by the definition.
  std::vector<std::int64_t> unscanned;
};

}  // namespace fastembed::search
