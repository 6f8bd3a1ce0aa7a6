// A small pool of threads that are started on demand, kept, and forgotten in a forked child. No Python here: the
// bindings pass a tick that checks for signals.
#pragma once

#include <atomic>
#include <functional>

namespace fastembed::support {

/// Set once when a run must end early; bodies look at it at least every few milliseconds. Where the calling thread
/// works, its looking is also what makes it tick.
class StopFlag {
 public:
  explicit StopFlag(const std::atomic<bool>& raised, const std::function<void()>* look = nullptr) noexcept
      : raised_(raised), look_(look) {}
  [[nodiscard]] bool load(std::memory_order order = std::memory_order_seq_cst) const {
    if (look_ != nullptr) (*look_)();
    return raised_.load(order);
  }
  /// Of work that nothing ends early.
  static const StopFlag& never() noexcept;

 private:
  const std::atomic<bool>& raised_;
  const std::function<void()>* look_;
};

/// Runs body(worker, stop) for worker = 0 .. workers-1, each on its own pool thread, all at the same time, and returns
/// when all have ended. The calling thread waits and calls `tick` about every 50 ms (never when the run is shorter).
///
/// When a body throws, `stop` is set and the first exception is thrown here after all workers have ended. When `tick`
/// throws, the same happens with its exception. After a run that fails no idle thread is left behind. Safe to call from
/// several threads at once and from a forked child.
void run_workers(int workers, const std::function<void(int worker, const StopFlag& stop)>& body,
                 const std::function<void()>& tick);

/// The same for short work, with the calling thread as worker 0: one thread less has to be woken, and none is left to
/// wait for the processor that the calling thread has not left yet, which took milliseconds. Bodies take what there is
/// to do from a common store until it is empty: a thread that has not begun when worker 0 has ended is not waited for,
/// and its body never called, because waking a thread may take longer than the work. `tick` may be empty.
void work_together(int workers, const std::function<void(int worker, const StopFlag& stop)>& body,
                   const std::function<void()>& tick);

/// Ends the threads that have nothing to do and waits for their end.
void retire_idle_threads();

/// Threads the pool holds at present, idle or busy.
int pool_thread_count();

}  // namespace fastembed::support
