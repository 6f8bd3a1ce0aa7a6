// The logistic function for gradients that are rounded to bfloat16, with AVX-512's own approximations.
#pragma once

#include <immintrin.h>

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// 1 / (1 + 2^t): the relative error is below 2^-18 + |t| 2^-24, most of it that of 2^f of degree 4 (minimax on [0, 1],
// 2^-18.5). Past the range of exponents it is at most 2^-126, or 1.
[[gnu::always_inline]] inline __m512 rough_logistic(__m512 t) noexcept {
  constexpr int kDown = 0x09;  // the fraction above the next integer below
  const __m512 f = _mm512_reduce_ps(t, kDown), one = _mm512_set1_ps(1.0F);
  __m512 p = _mm512_fmadd_ps(f, _mm512_set1_ps(0.013534168F), _mm512_set1_ps(0.05201146F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24144275F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69300383F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0000026F));
  // A quotient takes no infinity; NaN stays, as the second operand.
  const __m512 divisor = _mm512_min_ps(_mm512_set1_ps(0x1p126F), _mm512_add_ps(_mm512_scalef_ps(p, t), one));
  return Vec::quotient(one, divisor);
}

// With p = 1 / (1 + exp(-z)): log(1 + exp(z)) = max(z, 0) - log(larger_part(p)), in [0.5, 1].
[[gnu::always_inline]] inline __m512 larger_part(__m512 p) noexcept {
  return _mm512_max_ps(p, _mm512_sub_ps(_mm512_set1_ps(1.0F), p));
}

}  // namespace
}  // namespace fastembed
