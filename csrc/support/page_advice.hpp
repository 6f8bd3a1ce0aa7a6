// What the system is told of how mapped memory will be read. Advice alone: nothing depends on its being taken.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace fastembed::support {

enum class ReadOrder {
  kAscending,  // pages ahead are fetched, as by default
  kRandom,     // no others than those that are read
};

/// Of the whole pages of [data, data + bytes).
inline void advise(const void* data, std::size_t bytes, ReadOrder order) noexcept {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes) / page * page;
  if (begin >= end) return;
  const int advice = order == ReadOrder::kRandom ? MADV_RANDOM : MADV_NORMAL;
  (void)madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace fastembed::support
