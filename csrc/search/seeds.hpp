// Thresholds to start with: keys that k rows of a sample are certain to reach, by their codes alone.
#pragma once

#include <cstddef>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/code_scan.hpp"
#include "search/panels.hpp"
#include "search/request.hpp"

namespace fastembed::search {

/// For every query of the batch a key that k rows reach that it may meet, -infinity where none is known. Empty where
/// looking for such keys does not pay: without an index's codes, with a filter, for few rows or a large k.
std::vector<float> seed_keys(const KernelTable& kernels, const Request& request, const QueryBatch& batch,
                             const QueryCodes& queries, std::size_t k, int workers);

}  // namespace fastembed::search
