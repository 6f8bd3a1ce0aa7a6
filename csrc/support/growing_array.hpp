// An array that grows at its end without being copied: large blocks are moved by remapping their pages, so that growing
// never takes the memory twice. Never included by ISA code.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "support/aligned_buffer.hpp"

namespace fastembed::support {

template <class T>
class GrowingArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  [[nodiscard]] T* data() noexcept { return memory_.get(); }
  [[nodiscard]] const T* data() const noexcept { return memory_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Makes room for `count` more elements, of any content, and returns the first of them.
  T* extend(std::size_t count) {
    if (count > capacity_ - size_) grow(count);
    T* const first = memory_.get() + size_;
    size_ += count;
    return first;
  }

  /// Drops all elements behind the first `count`.
  void truncate(std::size_t count) noexcept { size_ = count; }
  /// The same, and gives their memory back.
  void shrink(std::size_t count) noexcept {
    truncate(count);
    const std::size_t kept = std::max<std::size_t>(count, 1);
    void* const moved = std::realloc(memory_.get(), kept * sizeof(T));
    if (moved == nullptr) return;
    static_cast<void>(memory_.release());
    memory_.reset(static_cast<T*>(moved));
    capacity_ = kept;
  }

  /// Gives the memory away, never null; free it with std::free.
  T* release() {
    if (!memory_) grow(1);
    size_ = capacity_ = 0;
    return memory_.release();
  }

 private:
  void grow(std::size_t count) {
    if (count > SIZE_MAX / sizeof(T) / 2 - size_) throw NoMemory(count, sizeof(T));
    const std::size_t wanted = std::max(size_ + count, size_ + size_ / 2);
    void* const moved = std::realloc(memory_.get(), wanted * sizeof(T));
    if (moved == nullptr) throw NoMemory(wanted, sizeof(T));
    static_cast<void>(memory_.release());
    memory_.reset(static_cast<T*>(moved));
    capacity_ = wanted;
  }

  std::unique_ptr<T, FreeDeleter> memory_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace fastembed::support
