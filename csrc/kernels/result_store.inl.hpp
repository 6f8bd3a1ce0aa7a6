// Where results go that no cache would keep.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// A register of a result, past the caches or not.
[[gnu::always_inline]] inline void store_result(float* to, Vec::Reg result, std::uint32_t stream) noexcept {
  if (stream != 0) {
    Vec::stream(to, result);
  } else {
    Vec::store(to, result);
  }
}

}  // namespace
}  // namespace fastembed
