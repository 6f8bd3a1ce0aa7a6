#include "support/thread_pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "support/own_cpu.hpp"
#include "support/spin.hpp"

namespace fastembed::support {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kTickInterval = std::chrono::milliseconds(50);

using Body = std::function<void(int worker, const StopFlag& stop)>;

// One call of run_workers. Shared with its jobs, so that the last one may still unlock after the call has returned.
struct Run {
  std::mutex mutex;
  std::condition_variable ended;
  std::atomic<int> running = 0;
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  int caller_cpu = -1;  // where the calling thread works, if it does

  void fail(std::exception_ptr cause) {
    const std::lock_guard lock(mutex);
    if (!error) error = std::move(cause);
    stop.store(true);
  }

  void job_done() {
    const std::lock_guard lock(mutex);
    if (--running == 0) ended.notify_all();
  }
};

struct Job {
  std::shared_ptr<Run> run;
  int worker = 0;
  const Body* body = nullptr;  // lives until the run's last job is done

  // A thread may wake on the processor of the one that has woken it, though others are idle: the kernel looks for those
  // among processors that share a cache. It would then come back there every time, and two take turns on one.
  void call() const {
    leave_cpu(run->caller_cpu);
    try {
      (*body)(worker, StopFlag(run->stop));
    } catch (...) {
      run->fail(std::current_exception());
    }
  }
};

class Pool {
 public:
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
    for (auto& thread : left_) thread.join();
  }

  // Queues `jobs` and makes sure that as many threads are free to run them: jobs of one run wait for nothing.
  void submit(std::vector<Job> jobs) {
    {
      const std::lock_guard lock(mutex_);
      retiring_ = 0;  // there is work for them
      retired_.notify_all();
      // Threads first: when the system refuses one, no job of a run that its caller has left may be in the queue.
      const std::size_t wanted = busy_ + queue_.size() + jobs.size();
      while (threads_.size() < wanted) threads_.emplace_back([this] { serve(); });
      for (auto& job : jobs) queue_.push_back(std::move(job));
      queued_.store(queue_.size(), std::memory_order_relaxed);
    }
    wake_.notify_all();
  }

  // Takes back the jobs of a run that no thread has begun; returns how many.
  int withdraw(const Run* run) {
    const std::lock_guard lock(mutex_);
    const std::size_t before = queue_.size();
    std::erase_if(queue_, [run](const Job& job) { return job.run.get() == run; });
    queued_.store(queue_.size(), std::memory_order_relaxed);
    return static_cast<int>(before - queue_.size());
  }

  // Ends the threads that have nothing to do and waits for their end, unless new work comes in.
  void retire_idle() {
    std::vector<std::thread> left;
    {
      std::unique_lock lock(mutex_);
      retiring_ = threads_.size() - std::min(threads_.size(), busy_ + queue_.size());
      wake_.notify_all();
      retired_.wait(lock, [this] { return retiring_ == 0; });
      left = std::exchange(left_, {});
    }
    for (auto& thread : left) thread.join();
  }

  int thread_count() {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(threads_.size());
  }

 private:
  // A thread that may choose goes on as the worker that it was: its core has the rows of that one's share in its
  // caches.
  std::deque<Job>::iterator next_job(int worker) {
    const auto same = std::find_if(queue_.begin(), queue_.end(), [=](const Job& job) { return job.worker == worker; });
    return same == queue_.end() ? queue_.begin() : same;
  }

  void serve() {
    Job job;
    int worker = 0;
    bool eager = false;
    Clock::time_point ended = Clock::now();
    while (true) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return closing_ || retiring_ > 0 || !queue_.empty(); });
        if (queue_.empty()) return closing_ ? void() : leave();
        const auto next = next_job(worker);
        job = std::move(*next);
        queue_.erase(next);
        worker = job.worker;
        eager = Clock::now() - ended < kLongWait;
        queued_.store(queue_.size(), std::memory_order_relaxed);
        ++busy_;
      }
      job.call();
      {
        const std::lock_guard lock(mutex_);
        --busy_;
      }
      job.run->job_done();
      job = {};
      // The next part of a search comes within microseconds, and so does the next search if the last one did.
      ended = Clock::now();
      spin_until([this] { return queued_.load(std::memory_order_relaxed) != 0; }, eager ? kLongWait : kShortWait);
    }
  }

  // Takes the calling thread out of the pool, with the mutex held.
  void leave() {
    const auto own = std::find_if(threads_.begin(), threads_.end(), [](const std::thread& thread) {
      return thread.get_id() == std::this_thread::get_id();
    });
    left_.push_back(std::move(*own));
    threads_.erase(own);
    if (--retiring_ == 0) retired_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable retired_;
  std::deque<Job> queue_;
  std::atomic<std::size_t> queued_{0};  // its size
  std::vector<std::thread> threads_;
  std::vector<std::thread> left_;  // ended, to be joined
  std::size_t busy_ = 0;
  std::size_t retiring_ = 0;  // idle threads that have been asked to end
  bool closing_ = false;
};

// Leaked on purpose in a forked child, whose copy names threads that do not exist there: joining them would hang.
// Held by pointer and guarded so that fork finds the guard free.
std::mutex pool_mutex;
Pool* pool = nullptr;

void before_fork() { pool_mutex.lock(); }
void after_fork_in_parent() { pool_mutex.unlock(); }
void after_fork_in_child() {
  pool = nullptr;
  pool_mutex.unlock();
}

void delete_pool_at_exit() {
  const std::lock_guard lock(pool_mutex);
  delete pool;
  pool = nullptr;
}

Pool& current_pool() {
  static const bool registered = [] {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    return std::atexit(delete_pool_at_exit) == 0;
  }();
  static_cast<void>(registered);
  const std::lock_guard lock(pool_mutex);
  if (pool == nullptr) pool = new Pool;
  return *pool;
}

std::shared_ptr<Run> start(int first, int workers, const Body& body) {
  const auto run = std::make_shared<Run>();
  if (first != 0) run->caller_cpu = current_cpu();
  run->running = workers - first;
  std::vector<Job> jobs;
  jobs.reserve(static_cast<std::size_t>(run->running));
  for (int worker = first; worker < workers; ++worker) jobs.push_back({run, worker, &body});
  if (!jobs.empty()) current_pool().submit(std::move(jobs));
  return run;
}

void tick_for(Run& run, const std::function<void()>& tick) {
  try {
    tick();
  } catch (...) {
    run.fail(std::current_exception());
  }
}

// Until all jobs have ended; throws what failed.
void finish(const std::shared_ptr<Run>& run, const std::function<void()>& tick) {
  spin_until([&run] { return run->running.load(std::memory_order_relaxed) == 0; }, kLongWait);
  std::unique_lock lock(run->mutex);
  while (!run->ended.wait_for(lock, kTickInterval, [&run] { return run->running == 0; })) {
    if (run->stop.load() || !tick) continue;
    lock.unlock();
    tick_for(*run, tick);
    lock.lock();
  }
  // Taken out of the shared state: a Python exception must die on a thread that may take the GIL, and the last owner of
  // `run` may be a pool thread, even one that outlives the interpreter.
  const std::exception_ptr error = std::exchange(run->error, nullptr);
  lock.unlock();
  if (!error) return;
  retire_idle_threads();
  std::rethrow_exception(error);
}

}  // namespace

const StopFlag& StopFlag::never() noexcept {
  static const std::atomic<bool> lowered{false};
  static const StopFlag flag(lowered);
  return flag;
}

void run_workers(int workers, const Body& body, const std::function<void()>& tick) {
  finish(start(0, workers, body), tick);
}

void work_together(int workers, const Body& body, const std::function<void()>& tick) {
  const auto run = start(1, workers, body);
  auto last = Clock::now();
  const std::function<void()> look = [&] {
    const auto now = Clock::now();
    if (now - last < kTickInterval || run->stop.load()) return;
    last = now;
    tick_for(*run, tick);
  };
  try {
    body(0, StopFlag(run->stop, tick ? &look : nullptr));
  } catch (...) {
    run->fail(std::current_exception());
  }
  if (workers > 1) {
    const int withdrawn = current_pool().withdraw(run.get());
    const std::lock_guard lock(run->mutex);
    run->running -= withdrawn;
  }
  finish(run, tick);
}

void retire_idle_threads() { current_pool().retire_idle(); }

int pool_thread_count() {
  Pool* current = nullptr;
  {
    const std::lock_guard lock(pool_mutex);
    current = pool;
  }
  return current == nullptr ? 0 : current->thread_count();
}

}  // namespace fastembed::support
