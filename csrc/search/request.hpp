// What a search is asked: rows, metric, filters. Plain data that the bindings fill and search/ reads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "cpu/kernel_table.hpp"

namespace fastembed::search {

enum class Metric { kCosine, kDot, kL2 };

/// float32 rows with unit inner stride; not owned.
struct Matrix {
  const float* data = nullptr;
  std::size_t rows = 0;
  std::size_t depth = 0;
  std::size_t stride = 0;  // floats from row to row

  [[nodiscard]] const float* row(std::size_t i) const noexcept { return data + i * stride; }
};

/// The rows of an index: of float32, or of narrower elements, which stand for the float32 that they widen to
/// (stored_rows.hpp). Not owned.
struct StoredRows {
  const std::byte* data = nullptr;
  std::size_t rows = 0;
  std::size_t depth = 0;
  std::size_t stride = 0;  // bytes from row to row
  Storage storage = Storage::kFloat32;
  const float* scales = nullptr;  // one a row, of kInt8

  StoredRows() = default;
  StoredRows(const Matrix& matrix) noexcept  // not explicit: a matrix is such rows
      : data(reinterpret_cast<const std::byte*>(matrix.data)),
        rows(matrix.rows),
        depth(matrix.depth),
        stride(matrix.stride * sizeof(float)) {}

  [[nodiscard]] bool is_float32() const noexcept { return storage == Storage::kFloat32; }
  [[nodiscard]] const std::byte* address(std::size_t i) const noexcept { return data + i * stride; }
  [[nodiscard]] std::size_t row_bytes() const noexcept {
    return depth * (is_float32() ? sizeof(float) : storage == Storage::kInt8 ? 1 : 2);
  }
  /// Of float32 only.
  [[nodiscard]] const float* row(std::size_t i) const noexcept { return reinterpret_cast<const float*>(address(i)); }
};

struct Codes;

/// What a search for the k best came upon, over all its queries.
struct SearchCounts {
  std::atomic<std::int64_t> sampled{0};     // rows scored for thresholds to start with
  std::atomic<std::int64_t> candidates{0};  // rows that the scan could not rule out
  std::atomic<std::int64_t> refused{0};     // of those, by codes and residuals together
  std::atomic<std::int64_t> scored{0};      // of those, by the definition
};

struct Request {
  Matrix queries;
  StoredRows index;
  Metric metric = Metric::kCosine;
  const float* norms = nullptr;               // of the index rows, as row_norms gives them; null: computed on the way
  const std::uint8_t* mask = nullptr;         // a byte a row, nonzero where the row is admitted; null: all
  const std::uint8_t* query_masks = nullptr;  // the same, one such mask a query
  const std::int64_t* order = nullptr;        // ranks equal scores, ascending; null: the row number
  bool has_threshold = false;
  float threshold = 0;           // least score admitted (l2: greatest)
  std::int64_t self_first = -1;  // query i does not meet row self_first + i; -1: it meets all
  bool check_finite = true;
  const Codes* codes = nullptr;    // of the index; null: it has none
  bool accelerate = true;          // codes may be made on the way
  std::optional<bool> medium;      // for tests: whether a panel meets medium codes, where it can; else where they pay
  SearchCounts* counts = nullptr;  // null: nobody asks
  int workers = 1;
  std::function<void()> tick;  // called about every 50 ms; throws to end the search

  /// Whether query may meet row, by its own mask and by self_first.
  [[nodiscard]] bool admits(std::size_t query, std::size_t row) const noexcept {
    if (self_first >= 0 && static_cast<std::size_t>(self_first) + query == row) return false;
    return query_masks == nullptr || query_masks[query * index.rows + row] != 0;
  }
  /// Whether a query's own mask admits row for any query.
  [[nodiscard]] bool admits_for_any(std::size_t row) const noexcept {
    if (query_masks == nullptr) return true;
    for (std::size_t query = 0; query < queries.rows; ++query) {
      if (query_masks[query * index.rows + row] != 0) return true;
    }
    return false;
  }
  [[nodiscard]] std::int64_t rank(std::int64_t row) const noexcept {
    return order == nullptr ? row : order[static_cast<std::size_t>(row)];
  }
};

/// The first rows with NaN or infinity, -1 where there is none: of all queries, and of the rows of the index that masks
/// admit for any of them.
struct BadRows {
  std::int64_t query = -1;
  std::int64_t index = -1;
};

}  // namespace fastembed::search
