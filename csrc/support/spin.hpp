// Waiting for a few microseconds without giving the processor away.
#pragma once

#include <chrono>

namespace fastembed::support {

/// Leaves the core to its other hardware thread for a moment: some 20 nanoseconds on Zen 4, 45 on Sapphire Rapids.
inline void relax() noexcept {
#if defined(__x86_64__)
  asm volatile("pause" ::: "memory");
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

/// About as long as waking a thread takes, and what it takes on a virtual machine, whose idle processors must be woken
/// first.
constexpr std::chrono::microseconds kShortWait{30}, kLongWait{200};

/// Whether `done` came to be true within `most`.
template <class Done>
bool spin_until(const Done& done, std::chrono::microseconds most) noexcept {
  constexpr int kSpinsALook = 16;
  const auto end = std::chrono::steady_clock::now() + most;
  do {
    for (int i = 0; i < kSpinsALook; ++i, relax()) {
      if (done()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace fastembed::support
