// The k best rows of every query, and all rows within a threshold, by the definition of score.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "search/bounds.hpp"
#include "search/request.hpp"
#include "support/growing_array.hpp"

namespace fastembed::search {

/// Writes the k best of every query, best first, to scores and rows (k a query). Where fewer are admitted: row -1 and
/// the worst score there is. When a row is bad (only looked for with check_finite), what is written has no meaning.
/// With k = 0 only queries are looked at.
BadRows topk(const Request& request, std::size_t k, float* scores, std::int64_t* rows);

/// Whether the lists that topk keeps would take more memory than is to be taken beside the results.
bool is_deep(const Request& request, std::size_t k);
/// The same as topk in the memory of the results and some 30 MB, one query after the other. Finite queries only;
/// returns the first bad row, or -1.
std::int64_t deep_topk(const Request& request, const Bounds& bounds, std::size_t k, float* scores, std::int64_t* rows);

/// All rows of every query whose scores reach request.threshold, best first.
struct RangeResult {
  std::vector<std::int64_t> offsets;  // of each query's results, and their number at the end
  support::GrowingArray<float> scores;
  support::GrowingArray<std::int64_t> rows;
  BadRows bad;
};
RangeResult range_search(const Request& request);

/// How many rows range_search would find for every query.
BadRows range_count(const Request& request, std::int64_t* counts);

}  // namespace fastembed::search
