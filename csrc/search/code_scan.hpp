// A batch of queries against rows of codes: the queries as integers (for codes of bfloat16 as that, or as they are),
// the thresholds of their products, and the bounds on keys that follow from a product.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "search/bounds.hpp"
#include "search/codes.hpp"
#include "search/collector.hpp"
#include "search/panels.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::search {

/// The greatest |element| of queries that are scanned singly, or in panels: what the tier takes, and int32 allows.
[[nodiscard]] std::int32_t code_limit(const KernelTable& kernels, bool single, std::size_t depth) noexcept;

/// Bits of an element of such queries, for rows as codes of this kind.
[[nodiscard]] int code_query_bits(const KernelTable& kernels, CodeKind kind, bool single, std::size_t depth) noexcept;

/// Bits of an element of an index's rows that so many queries at once meet first.
[[nodiscard]] int code_row_bits(const KernelTable& kernels, const Codes& codes, std::size_t queries) noexcept;

/// What a panel that meets medium codes has in place of its keys, units, slopes and weights.
struct MediumTerms {
  float keys[kPanelQueries], units[kPanelQueries], slopes[kPanelQueries], weights[kPanelQueries];
};

/// A batch's queries, turned and rounded as the tier wants them, of the width of the batch's panels.
class QueryCodes {
 public:
  QueryCodes(const KernelTable& kernels, const Request& request, const CodeSpace& space, const QueryBatch& batch);

  /// Whether every query of the batch can be coded: a few odd ones (zeros, say) are not worth the trouble.
  [[nodiscard]] bool usable() const noexcept { return usable_; }
  [[nodiscard]] const void* panel(std::size_t p) const noexcept { return packed_.data() + p * panel_elements_; }
  [[nodiscard]] const std::int32_t* corrections(std::size_t p) const noexcept {
    return corrections_.data() + p * batch_.width();
  }
  [[nodiscard]] const float* slopes(std::size_t p) const noexcept { return slopes_.data() + p * batch_.width(); }
  [[nodiscard]] const float* weights(std::size_t p) const noexcept { return weights_.data() + p * batch_.width(); }
  /// Of row terms, where a threshold is not so low that all rows are to reach it.
  [[nodiscard]] const float* units(std::size_t p) const noexcept { return units_.data() + p * batch_.width(); }
  /// CodeScan::keys and units of a panel, from the thresholds of the batch, which go to `thresholds`; nothing is done
  /// where these were what they are. NaN there at first.
  void find_keys(std::size_t p, float* thresholds, float* keys, float* units) const noexcept;
  /// Whether less than whole codes can be met first: by single queries coarse codes, by one panel medium ones.
  [[nodiscard]] bool has_partial() const noexcept { return has_partial_; }
  /// For the panel, from its keys and units.
  void find_medium(const float* keys, const float* units, MediumTerms& to) const noexcept;
  /// A single query, for scan_coarse_rows.
  [[nodiscard]] const void* coarse_panel(std::size_t query) const noexcept {
    return coarse_.data() + query * coarse_bytes_;
  }
  [[nodiscard]] std::int32_t coarse_correction(std::size_t query) const noexcept { return coarse_corrections_[query]; }
  /// What a single query's products are to reach; `coarse`: those of scan_coarse_rows.
  [[nodiscard]] CodeThresholds thresholds(std::size_t query, float key, float unit, const CodesIn& at,
                                          const float* row_terms, std::size_t rows, bool coarse) const noexcept;
  /// CodeScan::row_terms of a row of l2.
  [[nodiscard]] float row_term(float square, float scale) const noexcept {
    return static_cast<float>(0.5 * (1.0 - square_error_)) * square * scale;
  }
  /// Whether rows have residuals, by which candidates are met.
  [[nodiscard]] bool refines() const noexcept { return !refined_.empty(); }
  /// The product of a row's codes and residuals with a query: 16 times that of the codes, and nearer.
  [[nodiscard]] std::int32_t refined_product(const KernelTable& kernels, const CodesIn& at, std::size_t query,
                                             std::size_t row) const noexcept {
    return kernels.refined_product({at.codes + row * space_.stride(), at.residuals + row * space_.nibble_stride(),
                                    refined_.data() + query * nibble_blocks_ * kNibbleBlock, nibble_blocks_});
  }
  /// What that reads of a row.
  void prefetch(const CodesIn& at, std::size_t row) const noexcept;
  /// Gives a candidate the bounds on its key that follow from this product; leaves it rough where there are none. False
  /// where it cannot reach its query's threshold.
  [[nodiscard]] bool refine(const CodesIn& at, std::int32_t product, Candidate& candidate) const noexcept;

 private:
  // What a query needs beside its panel, in float64. With D the product of codes, u, v, w the group's scale, length and
  // error: |<query, row> - (center + D / (gain u))| <= slack + (slope v + weight w) / (gain u).
  struct Terms {
    double gain = 0;    // of the query in its codes
    double center = 0;  // product with the space's center
    double slack = 0;
    double slope = 0;
    double weight = 0;
    double square = 0;    // l2: of the centered query
    double distance = 0;  // l2: square / 2 less half of what QueryScale knows, for thresholds
    // The same for products with codes and residuals.
    double refined_gain = 0;
    double refined_slope = 0;
    double refined_weight = 0;
    // And with coarse codes.
    double coarse_gain = 0;
    double coarse_slope = 0;
    double coarse_weight = 0;
  };

  // Code is an element of the queries as the kernels take them: int16 or, for bfloat16, float.
  template <class Code>
  void code_all(const KernelTable& kernels, const Request& request);
  template <class Code>
  bool code_panel(const KernelTable& kernels, const Request& request, std::size_t panel, float* columns, Code* codes);
  template <class Code>
  bool code(const KernelTable& kernels, std::size_t query, const float* column, Code* codes);
  // Of the query that is turned.
  [[nodiscard]] double length_of(std::size_t query) const noexcept {
    const QueryScale& scale = batch_.scale(query);
    return (metric_ == Metric::kL2 ? std::sqrt(terms_[query].square) : scale.norm) * scale.scale;
  }
  void round_coarsely(const KernelTable& kernels, std::size_t query, const float* column, double most, double square);
  void refine_query(std::size_t query, const float* column, double most, double square);
  [[nodiscard]] KeyBounds refined_bounds(const Terms& terms, const QueryScale& scale, double product, double slack,
                                         double row_square) const noexcept;
  void pack(const KernelTable& kernels, const std::int16_t* codes, std::size_t panel, std::size_t count);
  void pack(const KernelTable& kernels, const float* codes, std::size_t panel, std::size_t count);
  void find_terms(std::size_t query, const Request& request, Terms& terms) const;

  const QueryBatch& batch_;
  const CodeSpace& space_;
  Metric metric_;
  bool usable_ = true;
  std::int32_t limit_ = 0;  // of |element| of a query as integers
  int query_bits_;
  double relative_;      // of |query| (|row| as centered): roundings of turning and centering
  double absolute_ = 0;  // of |query|: roundings of what does not shrink with the centered row
  double square_error_;  // relative, of squares in float32
  double sum_error_;     // of a product of codes, in units of both lengths
  std::size_t panel_elements_ = 0;
  support::AlignedBuffer<std::int16_t> packed_;
  std::vector<std::int32_t> corrections_;
  std::vector<float> slopes_, weights_, units_;
  std::size_t nibble_blocks_ = 0;
  std::vector<std::int16_t> refined_;  // of every query nibble_blocks_ * kNibbleBlock elements
  bool has_partial_ = false;
  std::size_t coarse_bytes_ = 0;  // of a single query
  support::AlignedBuffer<std::int8_t> coarse_;
  std::vector<std::int32_t> coarse_corrections_;
  std::vector<Terms> terms_;
};

}  // namespace fastembed::search
