// Rows that an index keeps in 16 or 8 bits: as float32, and against a query.
#pragma once

#include "kernels/row_format.inl.hpp"
#include "kernels/scan_rows.inl.hpp"

namespace fastembed {
namespace {

struct Int8Rows {
  using Element = std::int8_t;
  static Vec::Reg load(const std::int8_t* from) noexcept { return Vec::load_i8(from); }
};

// One row. Only int8 has a scale.
template <class Rows>
struct NarrowRow {
  using Element = typename Rows::Element;
  static constexpr bool kScaled = sizeof(Element) == 1;

  NarrowRow(const NarrowRows& rows, std::size_t r) noexcept
      : elements(reinterpret_cast<const Element*>(static_cast<const unsigned char*>(rows.rows) + r * rows.row_stride)),
        scale(kScaled ? Vec::broadcast(rows.scales[r]) : Vec::zero()) {}

  [[nodiscard]] Vec::Reg load(std::size_t i) const noexcept { return widened(elements + i); }
  // Elements i .. i + count - 1, fewer than a register has, then zeros.
  [[nodiscard]] Vec::Reg load_few(std::size_t i, std::size_t count) const noexcept {
    Element few[Vec::kLanes] = {};
    for (std::size_t j = 0; j < count; ++j) few[j] = elements[i + j];
    return widened(few);
  }

  const Element* elements;
  Vec::Reg scale;

 private:
  [[nodiscard]] Vec::Reg widened(const Element* from) const noexcept {
    return kScaled ? Vec::mul(Rows::load(from), scale) : Rows::load(from);
  }
};

template <class Rows>
[[gnu::always_inline]] inline void widen_all(const NarrowRows& rows, float* out, std::size_t out_stride) noexcept {
  constexpr std::size_t kStep = Vec::kLanes;
  const std::size_t depth = rows.depth;
  for (std::size_t r = 0; r < rows.count; ++r) {
    const NarrowRow<Rows> row(rows, r);
    float* const to = out + r * out_stride;
    std::size_t i = 0;
    for (; i + kStep <= depth; i += kStep) Vec::store(to + i, row.load(i));
    if (i == depth) continue;
    if (depth >= kStep) {  // the last elements once more, some of them for the second time
      Vec::store(to + depth - kStep, row.load(depth - kStep));
      continue;
    }
    float rest[kStep];
    Vec::store(rest, row.load_few(0, depth));
    for (std::size_t j = 0; j < depth; ++j) to[j] = rest[j];
  }
}

// Lane sums of a row's products, in two chains.
template <class Rows>
[[gnu::always_inline]] inline Vec::Reg narrow_product(const NarrowRow<Rows>& row, std::size_t depth,
                                                      const float* query) noexcept {
  constexpr std::size_t kStep = Vec::kLanes;
  Vec::Reg even = Vec::zero(), odd = Vec::zero();
  std::size_t i = 0;
  for (; i + 2 * kStep <= depth; i += 2 * kStep) {
    even = Vec::fma(row.load(i), Vec::load(query + i), even);
    odd = Vec::fma(row.load(i + kStep), Vec::load(query + i + kStep), odd);
  }
  if (i + kStep <= depth) {
    even = Vec::fma(row.load(i), Vec::load(query + i), even);
    i += kStep;
  }
  if (i < depth) odd = Vec::fma(row.load_few(i, depth - i), Vec::load_first(query + i, depth - i), odd);
  return Vec::add(even, odd);
}

template <class Rows>
[[gnu::always_inline]] inline void multiply_all(const NarrowRows& rows, const float* query, float* products) noexcept {
  for (std::size_t first = 0; first < rows.count; first += kScanGroup) {
    const std::size_t count = rows.count - first < kScanGroup ? rows.count - first : kScanGroup;
    Vec::Reg sums[kScanGroup];
    for (std::size_t r = 0; r < kScanGroup; ++r) {  // behind the last row, that one again
      sums[r] = narrow_product(NarrowRow<Rows>(rows, first + (r < count ? r : count - 1)), rows.depth, query);
    }
    float totals[kScanGroup + Vec::kLanes];
    Vec::store_sums(sums, totals);
    for (std::size_t r = 0; r < count; ++r) products[first + r] = totals[r];
  }
}

// act(Rows{}) for how the rows are kept.
template <class Act>
[[gnu::always_inline]] inline void for_storage(Storage storage, const Act& act) noexcept {
  if (storage == Storage::kFloat16) {
    act(Float16Rows{});
  } else if (storage == Storage::kBfloat16) {
    act(Bfloat16Rows{});
  } else {
    act(Int8Rows{});
  }
}

void widen_rows(const NarrowRows& rows, float* out, std::size_t out_stride) noexcept {
  for_storage(rows.storage, [&](auto kept) { widen_all<decltype(kept)>(rows, out, out_stride); });
}

void scan_narrow_rows(const NarrowRows& rows, const float* query, float* products) noexcept {
  for_storage(rows.storage, [&](auto kept) { multiply_all<decltype(kept)>(rows, query, products); });
}

}  // namespace
}  // namespace fastembed
