// Thresholds to start with: of a sample of the rows those that look best by their codes are asked for bounds by their
// residuals, or by the definition.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/bounds.hpp"
#include "search/code_scan.hpp"
#include "search/panels.hpp"
#include "search/request.hpp"

namespace fastembed::search {

/// Rows that a search begins with.
struct Seeds {
  /// For every query of the batch a key that k rows reach that it may meet, -infinity where none is known. Empty where
  /// looking for such keys does not pay: without an index's codes, with a filter, for few rows or a large k.
  std::vector<float> keys;
  /// Rows that were looked at.
  std::size_t sampled = 0;

  /// The rows that may reach the key, which are to be met no more, and bounds on their own keys: those of a query from
  /// query * places on, counts[query] of them, ascending.
  std::vector<std::int64_t> rows;
  std::vector<KeyBounds> row_keys;
  std::vector<std::uint32_t> counts;
  std::size_t places = 0;
  std::vector<bool> groups;  // of kCodeGroup rows: whether they were looked at

  [[nodiscard]] bool holds(std::size_t query, std::int64_t row) const noexcept {
    if (keys.empty() || !groups[static_cast<std::size_t>(row) / kCodeGroup]) return false;
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(query * places);
    return std::binary_search(first, first + counts[query], row);
  }
};

Seeds find_seeds(const KernelTable& kernels, const Request& request, const QueryBatch& batch, const QueryCodes& queries,
                 std::size_t k, int workers);

}  // namespace fastembed::search
