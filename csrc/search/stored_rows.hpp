// Rows that an index keeps in float32 or narrower: how they are read as float32, and made of float32.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/request.hpp"

namespace fastembed::search {

/// Rows first .. first + count - 1 of an index that are not float32, as the kernels take them.
inline NarrowRows narrow_rows_at(const StoredRows& rows, std::size_t first, std::size_t count) noexcept {
  return {rows.address(first),
          rows.stride,
          rows.scales == nullptr ? nullptr : rows.scales + first,
          count,
          static_cast<std::uint32_t>(rows.depth),
          rows.storage};
}

/// Writes rows first .. first + count - 1 as float32, one after the other.
inline void copy_rows(const KernelTable& kernels, const StoredRows& rows, std::size_t first, std::size_t count,
                      float* out) noexcept {
  if (rows.is_float32()) {
    for (std::size_t r = 0; r < count; ++r) std::copy_n(rows.row(first + r), rows.depth, out + r * rows.depth);
    return;
  }
  kernels.widen_rows(narrow_rows_at(rows, first, count), out, rows.depth);
}

/// Rows first .. first + count - 1 as float32: where they lie, or copied into `room`, which has room for them.
inline Matrix as_float32(const KernelTable& kernels, const StoredRows& rows, std::size_t first, std::size_t count,
                         float* room) noexcept {
  if (rows.is_float32()) return {rows.row(first), count, rows.depth, rows.stride / sizeof(float)};
  copy_rows(kernels, rows, first, count, room);
  return {room, count, rows.depth, rows.depth};
}

/// Reads single rows; one object a worker. Holds references to `kernels` and `rows`.
class RowReader {
 public:
  RowReader(const KernelTable& kernels, const StoredRows& rows)
      : kernels_(kernels), rows_(rows), room_(rows.is_float32() ? 0 : rows.depth) {}
  /// Row i, until the next is read.
  [[nodiscard]] const float* row(std::size_t i) noexcept {
    return as_float32(kernels_, rows_, i, 1, room_.data()).data;
  }

 private:
  const KernelTable& kernels_;
  const StoredRows& rows_;
  std::vector<float> room_;
};

/// Writes all rows as float32, one after the other, by all workers.
void widen_all(const StoredRows& rows, float* out, int workers, const std::function<void()>& tick);

/// Float32 rows in another storage: `out` takes depth elements a row, one row after the other; `scales`, one a row, is
/// for kInt8 alone. 16-bit elements are the nearest, ties to even. A row of 8 bits has the scale max |x| / 127, rounded
/// up, and the integers nearest to x / scale; the scale is one step less where 127 of it would overflow. Returns the
/// first row with NaN, infinity, or an element that has no finite nearest; -1 if there is none.
std::int64_t narrow_rows(const Matrix& rows, Storage storage, std::byte* out, float* scales, int workers,
                         const std::function<void()>& tick);

}  // namespace fastembed::search
