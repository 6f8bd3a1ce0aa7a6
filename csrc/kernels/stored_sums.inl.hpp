// Sums of codes that the tile unit has stored, eight rows of one register of queries at a time: what thresholds they
// reach. They lack their corrections, by which thresholds are lowered instead where they are those of all eight rows.
#pragma once

#include "kernels/scan_codes.inl.hpp"

namespace fastembed {
namespace {

template <class Lanes>
[[gnu::always_inline]] inline typename Lanes::Reg load_sums(const std::int32_t* from, std::size_t r) noexcept {
  return Lanes::load(from + r * static_cast<std::size_t>(Vec::kLanes));
}

// Of one register of queries, what their thresholds are made of.
template <class Lanes>
struct ThresholdTerms {
  ThresholdTerms(const CodeScan& scan, std::size_t query) noexcept
      : keys(Vec::load(scan.keys + query)),
        slopes(Vec::sub(Vec::zero(), Vec::load(scan.slopes + query))),
        weights(Vec::sub(Vec::zero(), Vec::load(scan.weights + query))),
        units(Vec::load(scan.units + query)),
        correction(Lanes::load(scan.corrections + query)) {}

  [[gnu::always_inline]] [[nodiscard]] Vec::Reg wanted(const CodeScan& scan, std::size_t group) const noexcept {
    const Vec::Reg key = Vec::mul(keys, Vec::broadcast(scan.scales[group]));
    return Vec::fma(weights, Vec::broadcast(scan.errors[group]),
                    Vec::fma(slopes, Vec::broadcast(scan.lengths[group]), key));
  }
  [[gnu::always_inline]] [[nodiscard]] typename Lanes::Reg least(const CodeScan& scan,
                                                                 std::size_t group) const noexcept {
    return Lanes::sub(Lanes::floor_within(wanted(scan, group), kCodeLimit), correction);
  }

  Vec::Reg keys, slopes, weights, units;  // slopes and weights are negated
  typename Lanes::Reg correction;
};

// Where the rows of a group share their threshold. Their greatest is compared first, also where hits are many: a branch
// that is foretold half of the time costs less than the comparisons of all rows.
struct StoredHits {
  template <class Lanes>
  using Terms = ThresholdTerms<Lanes>;
  CodeHits* words;

  template <class Lanes>
  [[gnu::always_inline]] void take(const std::int32_t* from, const CodeScan& scan, const Terms<Lanes>& terms,
                                   std::size_t first_row, std::size_t query) noexcept {
    const typename Lanes::Reg least = terms.least(scan, first_row / kCodeGroup);
    typename Lanes::Reg greatest = load_sums<Lanes>(from, 0);
#pragma GCC unroll 8
    for (std::size_t r = 1; r < kCodeGroup; ++r) greatest = Lanes::max(greatest, load_sums<Lanes>(from, r));
    if (Lanes::at_least(greatest, least) == 0) [[likely]]
      return;
    words = keep_code_hits<kCodeGroup>(first_row, query, words, [&](std::size_t r) __attribute__((always_inline)) {
      return Lanes::at_least(load_sums<Lanes>(from, r), least);
    });
  }
};

// Where every row has a threshold of its own.
struct StoredHitsByRow {
  template <class Lanes>
  using Terms = ThresholdTerms<Lanes>;
  CodeHits* words;

  template <class Lanes>
  [[gnu::always_inline]] void take(const std::int32_t* from, const CodeScan& scan, const Terms<Lanes>& terms,
                                   std::size_t first_row, std::size_t query) noexcept {
    const Vec::Reg wanted = terms.wanted(scan, first_row / kCodeGroup);
    words = keep_code_hits<kCodeGroup>(first_row, query, words, [&](std::size_t r) __attribute__((always_inline)) {
      const Vec::Reg term = Vec::broadcast(scan.row_terms[first_row + r]);
      const typename Lanes::Reg least = Lanes::floor_within(Vec::fma(term, terms.units, wanted), kCodeLimit);
      return Lanes::at_least(load_sums<Lanes>(from, r), Lanes::sub(least, terms.correction));
    });
  }
};

// What greatest_codes is to find.
struct StoredGreatest {
  template <class Lanes>
  struct Terms {
    Terms(const CodeScan& scan, std::size_t query) noexcept : correction(Lanes::load(scan.corrections + query)) {}
    typename Lanes::Reg correction;
  };
  KeptGreatest kept;

  template <class Lanes>
  [[gnu::always_inline]] void take(const std::int32_t* from, const CodeScan& scan, const Terms<Lanes>& terms,
                                   std::size_t row, std::size_t query) noexcept {
    typename Lanes::Reg sums[kCodeGroup];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kCodeGroup; ++r) sums[r] = Lanes::add(load_sums<Lanes>(from, r), terms.correction);
    kept.take<kCodeGroup, 1, Lanes>(sums, scan, row, query);
  }
};

}  // namespace
}  // namespace fastembed
