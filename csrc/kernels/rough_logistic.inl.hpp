// The logistic function for gradients that are rounded to bfloat16, with AVX-512's own approximations.
#pragma once

#include <immintrin.h>

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

// 1 / (1 + 2^t): the relative error is below 2^-12.8, of which 2^-13.7 is 2^f of degree 3 (minimax on [0, 1]) and 2^-14
// the reciprocal, where bfloat16 has 2^-9. Past the range of exponents it is 0 or 1.
[[gnu::always_inline]] inline __m512 rough_logistic(__m512 t) noexcept {
  constexpr int kDown = 0x09;  // the fraction above the next integer below
  const __m512 f = _mm512_reduce_ps(t, kDown);
  __m512 p = _mm512_fmadd_ps(f, _mm512_set1_ps(0.0780245224F), _mm512_set1_ps(0.226067156F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.695833557F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.999925196F));
  return _mm512_rcp14_ps(_mm512_add_ps(_mm512_scalef_ps(p, t), _mm512_set1_ps(1.0F)));
}

// With p = 1 / (1 + exp(-z)): log(1 + exp(z)) = max(z, 0) - log(larger_part(p)), in [0.5, 1].
[[gnu::always_inline]] inline __m512 larger_part(__m512 p) noexcept {
  return _mm512_max_ps(p, _mm512_sub_ps(_mm512_set1_ps(1.0F), p));
}

}  // namespace
}  // namespace fastembed
