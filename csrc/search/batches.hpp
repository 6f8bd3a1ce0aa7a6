// What top-k and range search share: batches of queries, the number of workers that a search is worth, and the queries
// that only the definition can answer.
#pragma once

#include <cstddef>
#include <functional>

#include "search/block_scan.hpp"
#include "search/request.hpp"
#include "support/ticker.hpp"

namespace fastembed::search {

using support::Ticker;

/// The first query with NaN or infinity, -1 if none or if nobody asked.
std::int64_t first_bad_query(const KernelTable& kernels, const Request& request);

/// Queries a batch: panels that stay in L2, lists of `bytes_a_query` that stay within a few tens of megabytes.
std::size_t batch_size(const Request& request, std::size_t bytes_a_query);

/// Workers that `operations` multiply-adds are worth.
int useful_workers(const Request& request, double operations);

/// body(worker, stop) on `workers` threads, or fewer: bodies take what there is to do from a common store (see
/// support::work_together). One worker with little to do, or without a tick, runs on the calling thread.
void run(const Request& request, int workers, double operations,
         const std::function<void(int worker, const support::StopFlag& stop)>& body);

}  // namespace fastembed::search
