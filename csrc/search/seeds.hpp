// Thresholds to start with: of a sample of the rows those that look best by their codes are scored by the definition.
#pragma once

#include <cstddef>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/candidates.hpp"
#include "search/code_scan.hpp"
#include "search/panels.hpp"
#include "search/request.hpp"

namespace fastembed::search {

struct Seeds {
  /// For every query of the batch a key that k rows reach that it may meet, -infinity where none is known. Empty where
  /// looking for such keys does not pay: without an index's codes, with a filter, for few rows or a large k.
  std::vector<float> keys;
  /// Rows that were looked at.
  std::size_t sampled = 0;
};

Seeds find_seeds(const KernelTable& kernels, const Request& request, const QueryBatch& batch, const QueryCodes& queries,
                 std::size_t k, int workers);

}  // namespace fastembed::search
