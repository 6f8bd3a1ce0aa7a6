// All pairs at once, and what belongs to single rows: float32 results within a bound of the definition (see
// docs/exact-search.md), or the definition itself where memory is the limit anyway.
#pragma once

#include <cstddef>
#include <optional>

#include "search/request.hpp"

namespace fastembed::search {

struct Similarity {
  Matrix a, b;
  Metric metric = Metric::kCosine;
  float* out = nullptr;  // a.rows x b.rows
  std::size_t out_stride = 0;
  int workers = 1;
  std::optional<bool> split;  // products by SplitProduct, or in float32; by default what is faster here
  std::function<void()> tick;
};
void similarity(const Similarity& wanted);

/// out[i] = the score of row i of a and row i of b, by the definition.
void paired_similarity(const Similarity& wanted);

/// norms[i] = the norm of row i, NaN where the row holds NaN or infinity, for Request::norms.
void row_norms(const StoredRows& rows, float* norms, int workers, const std::function<void()>& tick);

/// out = rows / norm (in float64, rounded once); rows of zeros stay. `out_stride` in floats; may be in place.
void normalize_rows(const Matrix& rows, float* out, std::size_t out_stride, int workers,
                    const std::function<void()>& tick);

}  // namespace fastembed::search
