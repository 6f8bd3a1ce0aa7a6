// Ticks between runs of a pool that may each be too short for run_workers to tick.
#pragma once

#include <chrono>
#include <functional>

#include "support/thread_pool.hpp"

namespace fastembed::support {

/// For the calling thread: calls `tick`, which stays where it is and may be empty, when the last time is long enough
/// ago.
class Ticker {
 public:
  explicit Ticker(const std::function<void()>& tick) : tick_(tick) {}

  /// What `tick` throws comes through, with no idle thread left behind.
  void operator()() {
    const Clock::time_point now = Clock::now();
    if (!tick_ || now - last_ < kInterval) return;
    last_ = now;
    try {
      tick_();
    } catch (...) {
      retire_idle_threads();
      throw;
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kInterval = std::chrono::milliseconds(50);
  const std::function<void()>& tick_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace fastembed::support
