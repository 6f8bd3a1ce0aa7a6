// A barrier for workers that meet every few dozen microseconds: waits by spinning first, for as long as that has been
// worth it lately, by sleeping at last, and can be abandoned, so that a worker that fails leaves nobody waiting. Never
// included by ISA code.
#pragma once

#include <algorithm>
#include <atomic>
#include <thread>

#include "support/spin.hpp"

namespace fastembed::support {

class Barrier {
 public:
  /// `spin` says that all `parties` may run at once; else waiting would take the time of those that are waited for.
  Barrier(int parties, bool spin) noexcept : parties_(parties), spins_(spin ? kMostSpins : 0) {}

  /// Waits for all parties. The last one calls `last`, which must not throw, before any of them returns: what it and
  /// all parties did before is visible to all. False when the barrier has been abandoned, and at once from then on.
  template <class Last>
  bool arrive(const Last& last) noexcept {
    const int turn = turn_.load(std::memory_order_acquire);
    if (abandoned_.load(std::memory_order_acquire)) return false;
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == parties_) {
      last();
      arrived_.store(0, std::memory_order_relaxed);
      next_turn();
    } else {
      wait_for_end_of(turn);
    }
    return !abandoned_.load(std::memory_order_acquire);
  }

  /// Lets everybody go, now and later; from any thread.
  void abandon() noexcept {
    abandoned_.store(true, std::memory_order_release);
    next_turn();
  }

 private:
  // Of some 20 nanoseconds each on Zen 4. Workers that all run meet within the time of a tile, which is less than
  // waking a thread takes; where other programs share the cores, who waits spins for a thread that does not run.
  static constexpr int kMostSpins = 2000, kLeastSpins = 100, kMoreSpins = 20;
  static constexpr int kYields = 4;

  void next_turn() noexcept {
    turn_.fetch_add(1, std::memory_order_acq_rel);
    turn_.notify_all();
  }

  void wait_for_end_of(int turn) noexcept {
    const int spins = spins_.load(std::memory_order_relaxed);
    for (int i = 0; i < spins; ++i, relax()) {
      if (turn_.load(std::memory_order_acquire) == turn) continue;
      spins_.store(std::min(spins + kMoreSpins, kMostSpins), std::memory_order_relaxed);
      return;
    }
    if (spins > 0) spins_.store(std::max(spins / 2, kLeastSpins), std::memory_order_relaxed);
    for (int i = 0; i < kYields; ++i) {
      if (turn_.load(std::memory_order_acquire) != turn) return;
      std::this_thread::yield();
    }
    turn_.wait(turn, std::memory_order_acquire);
  }

  const int parties_;
  std::atomic<int> spins_;  // before a worker sleeps; any worker sets it
  // Each on its own line: those who wait read one while those who arrive write the other.
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> turn_{0};
  std::atomic<bool> abandoned_{false};
};

}  // namespace fastembed::support
