// The k best for one query among few rows, where a search takes microseconds: no lists, no memory from the heap,
// nothing that one query on one thread can do without. The same answer as topk.cpp's, which takes what this cannot.
#pragma once

#include <cstdint>

#include "cpu/kernel_table.hpp"
#include "search/request.hpp"

namespace fastembed::search {

/// As topk, for a request with queries and k > 0. False, and nothing written, where the general search must do it: more
/// than one query, many rows, filters, codes, numbers out of the range that the bounds are for, very many equal scores.
bool short_topk(const KernelTable& kernels, const Request& request, std::size_t k, float* scores, std::int64_t* rows);

}  // namespace fastembed::search
