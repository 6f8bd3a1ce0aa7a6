#include "search/batches.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/dispatch.hpp"
#include "search/coded_blocks.hpp"
#include "search/score.hpp"
#include "support/float_environment.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kPanelBytes = std::size_t{768} << 10;
constexpr std::size_t kListBytes = std::size_t{2} << 20;       // of one worker's lists, which hits reach in any order
constexpr std::size_t kMostListBytes = std::size_t{24} << 20;  // of all workers' lists
constexpr double kOperationsAWorker = 1.5e6;  // some 25 microseconds, several times what waking a thread takes

// From here on, a tenth of a second or more, the calling thread does nothing but tick: results may be pages that the
// system has yet to clear, for longer than a tick may wait.
constexpr double kLongOperations = 2e10;

constexpr std::size_t kQueriesATick = 256;

// Of a query in a panel.
std::size_t panel_element_bytes(const Request& request) {
  if (request.codes == nullptr) return codes_on_the_way(request) ? 1 : sizeof(float);
  return request.codes->space->kind() == CodeKind::kInt8 ? 1 : cpu::kernels().bf16_query_bits() / 8;
}

}  // namespace

std::int64_t first_bad_query(const KernelTable& kernels, const Request& request) {
  if (!request.check_finite) return -1;
  Ticker tick(request.tick);
  for (std::size_t q = 0; q < request.queries.rows; ++q) {
    if (q % kQueriesATick == kQueriesATick - 1) tick();
    if (!std::isfinite(exact_norm(kernels, request.queries.row(q), request.queries.depth))) {
      return static_cast<std::int64_t>(q);
    }
  }
  return -1;
}

std::size_t batch_size(const Request& request, std::size_t bytes_a_query) {
  const auto within = [](std::size_t bytes, std::size_t each) { return bytes / (each + 1); };
  // Panels of codes are smaller, and where rows are coded on the way a batch cannot be too large.
  const std::size_t panels = within(kPanelBytes, request.index.depth * panel_element_bytes(request));
  const std::size_t quick = std::min(panels, within(kListBytes, bytes_a_query));
  std::size_t size = std::clamp(quick, std::size_t{kPanelQueries}, std::size_t{1024}) / kPanelQueries * kPanelQueries;
  size = std::min(size, within(kMostListBytes, bytes_a_query * static_cast<std::size_t>(request.workers)));
  return std::max<std::size_t>(1, std::min(size, request.queries.rows));
}

int useful_workers(const Request& request, double operations) {
  return static_cast<int>(std::clamp(operations / kOperationsAWorker, 1.0, static_cast<double>(request.workers)));
}

void run(const Request& request, int workers, double operations,
         const std::function<void(int worker, const support::StopFlag& stop)>& body) {
  if (workers == 1 && (!request.tick || operations <= 2 * kOperationsAWorker)) {
    body(0, support::StopFlag::never());
    return;
  }
  const auto in_environment = [&body](int worker, const support::StopFlag& stop) {
    const support::DefaultFloatEnvironment environment;
    body(worker, stop);
  };
  const bool is_long = operations > kLongOperations * workers;
  (is_long ? support::run_workers : support::work_together)(workers, in_environment, request.tick);
}

}  // namespace fastembed::search
