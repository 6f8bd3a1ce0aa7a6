#include "support/cpu_budget.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace fastembed::support {
namespace {

std::atomic<int> override_count{0};

int affinity_count() {
#if defined(__linux__)
  // The kernel may know more CPUs than the fixed-size cpu_set_t holds, so the set grows until the call succeeds.
  for (int capacity = CPU_SETSIZE; capacity <= (1 << 20); capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(capacity);
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(capacity);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const int count = known ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (known && count > 0) return count;
  }
#endif
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

// Cores allowed by quota / period, or 0 when there is no quota.
double quota_of(const std::string& folder) {
  std::ifstream v2(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period) return quota == "max" || period <= 0 ? 0 : std::atof(quota.c_str()) / period;
  std::ifstream v1_quota(folder + "/cpu.cfs_quota_us");
  std::ifstream v1_period(folder + "/cpu.cfs_period_us");
  double limit = 0;
  if (v1_quota >> limit && v1_period >> period && limit > 0 && period > 0) return limit / period;
  return 0;
}

// The tightest quota on the way from this process's control group to the root.
double read_cgroup_quota() {
  double tightest = 0;
  const auto consider = [&tightest](double quota) {
    if (quota > 0 && (tightest == 0 || quota < tightest)) tightest = quota;
  };
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string root;
    if (controllers.empty()) {
      root = "/sys/fs/cgroup";
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      root = "/sys/fs/cgroup/" + controllers;
    } else {
      continue;
    }
    std::string path = line.substr(second + 1);
    while (true) {
      consider(quota_of(root + path));
      if (path.empty() || path == "/") break;
      path.resize(path.rfind('/'));
    }
  }
  return tightest;
}

// Read again after a second at the earliest: it takes some 40 microseconds, and a search may take less.
double cgroup_quota() {
  using Clock = std::chrono::steady_clock;
  static std::atomic<Clock::rep> read_at{0};
  static std::atomic<double> known{0};
  const Clock::rep now = Clock::now().time_since_epoch().count();
  const Clock::rep last = read_at.load(std::memory_order_acquire);
  if (last == 0 || now - last > Clock::period::den / Clock::period::num) {
    known.store(read_cgroup_quota());
    read_at.store(now, std::memory_order_release);
  }
  return known.load();
}

constexpr int kMostWorkers = 4096;  // as for the argument `workers` in Python

int environment_count() {
  const char* text = std::getenv("FASTEMBED_NUM_THREADS");  // NOLINT(concurrency-mt-unsafe): nothing here sets it
  if (text == nullptr || *text == '\0') return 0;
  int count = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, count);
  if (error != std::errc{} || stop != end || count < 1) {
    throw std::invalid_argument("FASTEMBED_NUM_THREADS must be a whole number of at least 1, got '" +
                                std::string(text) + "'");
  }
  if (count > kMostWorkers) {
    throw std::invalid_argument("FASTEMBED_NUM_THREADS must be at most " + std::to_string(kMostWorkers) + ", got '" +
                                std::string(text) + "'");
  }
  return count;
}

}  // namespace

int usable_cpu_count() {
  const int cores = affinity_count();
  const double quota = cgroup_quota();
  return quota > 0 ? std::max(1, std::min(cores, static_cast<int>(std::ceil(quota)))) : cores;
}

int default_worker_count() {
  if (const int count = override_count.load(); count > 0) return count;
  if (const int count = environment_count(); count > 0) return count;
  return usable_cpu_count();
}

void set_default_worker_count(int workers) {
  if (workers < 0) throw std::invalid_argument("workers must be at least 1, got " + std::to_string(workers));
  override_count.store(workers);
}

}  // namespace fastembed::support
