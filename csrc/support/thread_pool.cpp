#include "support/thread_pool.hpp"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace fastembed::support {
namespace {

constexpr auto kTickInterval = std::chrono::milliseconds(50);

class Pool {
 public:
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  // Queues `jobs` and makes sure that as many threads are free to run them: jobs of one run wait for nothing.
  void submit(std::vector<std::function<void()>> jobs) {
    {
      const std::lock_guard lock(mutex_);
      for (auto& job : jobs) queue_.push_back(std::move(job));
      while (threads_.size() < busy_ + queue_.size()) threads_.emplace_back([this] { serve(); });
    }
    wake_.notify_all();
  }

  int thread_count() {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(threads_.size());
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      auto job = std::move(queue_.front());
      queue_.pop_front();
      ++busy_;
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
      --busy_;
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
  std::size_t busy_ = 0;
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

Pool& current_pool() {
  static const bool registered = [] {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    std::atexit([] {
      const std::lock_guard lock(pool_mutex);
      delete pool;
      pool = nullptr;
    });
    return true;
  }();
  static_cast<void>(registered);
  const std::lock_guard lock(pool_mutex);
  if (pool == nullptr) pool = new Pool;
  return *pool;
}

struct Run {
  std::mutex mutex;
  std::condition_variable ended;
  int running = 0;
  StopFlag stop{false};
  std::exception_ptr error;

  void fail(std::exception_ptr cause) {
    const std::lock_guard lock(mutex);
    if (!error) error = std::move(cause);
    stop.store(true);
  }
};

}  // namespace

void run_workers(int workers, const std::function<void(int, const StopFlag&)>& body,
                 const std::function<void()>& tick) {
  // Shared with the jobs, so that the last one may still unlock while this function returns.
  const auto run = std::make_shared<Run>();
  run->running = workers;
  std::vector<std::function<void()>> jobs;
  for (int worker = 0; worker < workers; ++worker) {
    jobs.emplace_back([run, worker, &body] {
      try {
        body(worker, run->stop);
      } catch (...) {
        run->fail(std::current_exception());
      }
      const std::lock_guard lock(run->mutex);
      if (--run->running == 0) run->ended.notify_all();
    });
  }
  current_pool().submit(std::move(jobs));

  std::unique_lock lock(run->mutex);
  while (!run->ended.wait_for(lock, kTickInterval, [&run] { return run->running == 0; })) {
    if (run->stop.load()) continue;
    lock.unlock();
    try {
      tick();
    } catch (...) {
      run->fail(std::current_exception());
    }
    lock.lock();
  }
  // Taken out of the shared state: a Python exception must die on a thread that may take the GIL, and the last owner of
  // `run` may be a pool thread, even one that outlives the interpreter.
  const std::exception_ptr error = std::exchange(run->error, nullptr);
  lock.unlock();
  if (error) std::rethrow_exception(error);
}

int pool_thread_count() {
  Pool* current = nullptr;
  {
    const std::lock_guard lock(pool_mutex);
    current = pool;
  }
  return current == nullptr ? 0 : current->thread_count();
}

}  // namespace fastembed::support
