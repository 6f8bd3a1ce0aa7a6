// How many threads this process may use: affinity mask, cgroup quota, FASTEMBED_NUM_THREADS, set_num_threads.
#pragma once

namespace fastembed::support {

/// Cores the process may run on at once: the affinity mask, capped by the cgroup v2 or v1 CPU quota (rounded up).
int usable_cpu_count();

/// The default number of workers: set_num_threads if called, else FASTEMBED_NUM_THREADS, else usable_cpu_count().
/// Throws std::invalid_argument when FASTEMBED_NUM_THREADS is not a whole number of at least 1.
int default_worker_count();

/// Overrides the default from now on; 0 returns to the environment's. Throws std::invalid_argument below 0.
void set_default_worker_count(int workers);

}  // namespace fastembed::support
