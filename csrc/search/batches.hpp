// What top-k and range search share: batches of queries, the number of workers that a search is worth, and the queries
// that only the definition can answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>

#include "search/block_scan.hpp"
#include "search/request.hpp"

namespace fastembed::search {

/// For the calling thread, between pieces of work that may each be too short for run() to tick: ticks when the last
/// time is long enough ago.
class Ticker {
 public:
  explicit Ticker(const Request& request) : request_(request) {}
  void operator()();

 private:
  using Clock = std::chrono::steady_clock;
  const Request& request_;
  Clock::time_point last_{};  // the first call always ticks; a short search makes none
};

/// The first query with NaN or infinity, -1 if none or if nobody asked.
std::int64_t first_bad_query(const KernelTable& kernels, const Request& request);

/// Queries a batch: panels that stay in L2, lists of `bytes_a_query` that stay within a few tens of megabytes.
std::size_t batch_size(const Request& request, std::size_t bytes_a_query);

/// Workers that `operations` multiply-adds are worth.
int useful_workers(const Request& request, double operations);

/// body(worker, stop) on `workers` threads; one worker with little to do, or without a tick, runs on the calling
/// thread.
void run(const Request& request, int workers, double operations,
         const std::function<void(int worker, const support::StopFlag& stop)>& body);

}  // namespace fastembed::search
