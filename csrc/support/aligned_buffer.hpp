// Memory aligned to a cache line, on huge pages where the system gives them. Never included by ISA code.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "support/no_memory.hpp"

namespace fastembed::support {

struct FreeDeleter {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// All zeros.
  explicit AlignedBuffer(std::size_t count) : AlignedBuffer(uninitialised(count)) {
    std::memset(static_cast<void*>(memory_.get()), 0, count * sizeof(T));
  }
  /// Of any content. What is not touched takes no memory.
  static AlignedBuffer uninitialised(std::size_t count) {
    AlignedBuffer buffer;
    buffer.allocate(count);
    return buffer;
  }

  [[nodiscard]] T* data() noexcept { return memory_.get(); }
  [[nodiscard]] const T* data() const noexcept { return memory_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  T& operator[](std::size_t i) noexcept { return memory_.get()[i]; }
  const T& operator[](std::size_t i) const noexcept { return memory_.get()[i]; }

  /// Gives the system back the whole huge pages up to `end`, whose content is lost; the rest of the buffer stays.
  void discard_up_to(std::size_t end) noexcept {
    const std::size_t bytes = end * sizeof(T) / kHugePage * kHugePage;
    if (is_huge(count_) && bytes > 0) madvise(memory_.get(), bytes, MADV_DONTNEED);
  }

  /// Gives the memory away; free it with std::free.
  T* release() noexcept {
    count_ = 0;
    return memory_.release();
  }

 private:
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;

  // Where rounding up wastes little: from 8 MiB, or in whole huge pages.
  static bool is_huge(std::size_t count) noexcept {
    return count * sizeof(T) >= 4 * kHugePage || (count != 0 && count * sizeof(T) % kHugePage == 0);
  }
  void allocate(std::size_t count) {
    if (count > (SIZE_MAX - kHugePage) / sizeof(T)) throw NoMemory(count, sizeof(T));
    const std::size_t alignment = is_huge(count) ? kHugePage : 64;
    const std::size_t bytes = (count * sizeof(T) + alignment - 1) / alignment * alignment;
    memory_.reset(static_cast<T*>(std::aligned_alloc(alignment, bytes == 0 ? alignment : bytes)));
    if (!memory_) throw NoMemory(count, sizeof(T));
    count_ = count;
#if defined(MADV_HUGEPAGE)
    if (alignment == kHugePage) madvise(memory_.get(), bytes, MADV_HUGEPAGE);
#endif
  }

  std::unique_ptr<T, FreeDeleter> memory_;
  std::size_t count_ = 0;
};

}  // namespace fastembed::support
