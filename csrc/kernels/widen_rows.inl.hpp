// Rows that an index keeps in 16 or 8 bits, as float32.
#pragma once

#include "kernels/row_format.inl.hpp"

namespace fastembed {
namespace {

struct Int8Rows {
  using Element = std::int8_t;
  static Vec::Reg load(const std::int8_t* from) noexcept { return Vec::load_i8(from); }
};

template <class Rows, bool kScaled>
[[gnu::always_inline]] inline void widen_all(const WidenRows& step) noexcept {
  using Element = typename Rows::Element;
  constexpr std::size_t kStep = Vec::kLanes;
  const std::size_t depth = step.depth;
  for (std::size_t r = 0; r < step.count; ++r) {
    const auto* const from =
        reinterpret_cast<const Element*>(static_cast<const unsigned char*>(step.rows) + r * step.row_stride);
    float* const to = step.out + r * step.out_stride;
    const Vec::Reg scale = kScaled ? Vec::broadcast(step.scales[r]) : Vec::zero();
    const auto widened = [scale](const Element* elements) {
      return kScaled ? Vec::mul(Rows::load(elements), scale) : Rows::load(elements);
    };
    std::size_t i = 0;
    for (; i + kStep <= depth; i += kStep) Vec::store(to + i, widened(from + i));
    if (i == depth) continue;
    if (depth >= kStep) {  // the last elements once more, some of them for the second time
      Vec::store(to + depth - kStep, widened(from + depth - kStep));
      continue;
    }
    Element few[kStep] = {};
    float rest[kStep];
    for (std::size_t j = 0; j < depth; ++j) few[j] = from[j];
    Vec::store(rest, widened(few));
    for (std::size_t j = 0; j < depth; ++j) to[j] = rest[j];
  }
}

void widen_rows(const WidenRows& step) noexcept {
  if (step.storage == Storage::kFloat16) {
    widen_all<Float16Rows, false>(step);
  } else if (step.storage == Storage::kBfloat16) {
    widen_all<Bfloat16Rows, false>(step);
  } else {
    widen_all<Int8Rows, true>(step);
  }
}

}  // namespace
}  // namespace fastembed
