// The exception for memory that the system does not give, which says how much was wanted.
#pragma once

#include <cstddef>
#include <cstdio>
#include <new>

namespace fastembed::support {

class NoMemory : public std::bad_alloc {
 public:
  NoMemory(std::size_t count, std::size_t element_bytes) noexcept {
    std::snprintf(message_, sizeof message_, "cannot allocate %.3g GB",
                  static_cast<double>(count) * static_cast<double>(element_bytes) * 1e-9);
  }
  [[nodiscard]] const char* what() const noexcept override { return message_; }

 private:
  char message_[48];
};

}  // namespace fastembed::support
