// Multiplication and addition with one rounding, four lanes at a time.
#pragma once

#include <cmath>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace instseg {

#if defined(__SSE2__)
// left * right + addend in each lane, rounded once, on x86-64 processors without the instruction.
// Slow, but several times as fast as std::fma is there, which calls a function for each number.
[[gnu::always_inline]] inline __m128d add_product_to_odd(__m128d left, __m128d right,
                                                         __m128d addend) noexcept {
  const __m128d zero = _mm_setzero_pd();
  const __m128d product = _mm_mul_pd(left, right);  // exact, as both come from float
  const __m128d total = _mm_add_pd(product, addend);
  const __m128d part = _mm_sub_pd(total, product);
  const __m128d error =
      _mm_add_pd(_mm_sub_pd(product, _mm_sub_pd(total, part)), _mm_sub_pd(addend, part));
  // Where the total is not exact, its last bit tells so to the next rounding, to a number with more
  // than two bits less. An error that is NaN comes from a total that is not finite.
  const __m128d above = _mm_cmpgt_pd(error, zero);
  const __m128d below = _mm_cmplt_pd(error, zero);
  const __m128i outwards = _mm_castpd_si128(_mm_or_pd(
      _mm_and_pd(above, _mm_cmpgt_pd(total, zero)), _mm_and_pd(below, _mm_cmplt_pd(total, zero))));
  const __m128i bits = _mm_castpd_si128(total);
  const __m128i inexact =
      _mm_and_si128(_mm_castpd_si128(_mm_or_pd(above, below)), _mm_set1_epi64x(1));
  const __m128i step = _mm_andnot_si128(bits, inexact);
  const __m128i raised = _mm_add_epi64(bits, _mm_and_si128(outwards, step));
  return _mm_castsi128_pd(_mm_sub_epi64(raised, _mm_andnot_si128(outwards, step)));
}

// left[i] * right[i] + sum[i], rounded once, for four lanes.
[[gnu::always_inline]] inline __m128 emulate_fused_multiply_add(__m128 left, __m128 right,
                                                                __m128 sum) noexcept {
  const __m128d low =
      add_product_to_odd(_mm_cvtps_pd(left), _mm_cvtps_pd(right), _mm_cvtps_pd(sum));
  const __m128d high = add_product_to_odd(_mm_cvtps_pd(_mm_movehl_ps(left, left)),
                                          _mm_cvtps_pd(_mm_movehl_ps(right, right)),
                                          _mm_cvtps_pd(_mm_movehl_ps(sum, sum)));
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
#endif

// sum[i] += left * right[i], rounded once, for four lanes.
[[gnu::always_inline]] inline void add_product(float left, const float* right,
                                               float* sum) noexcept {
#if defined(__SSE2__) && !defined(__FP_FAST_FMAF)
  _mm_storeu_ps(
      sum, emulate_fused_multiply_add(_mm_set1_ps(left), _mm_loadu_ps(right), _mm_loadu_ps(sum)));
#else
  for (int lane = 0; lane < 4; ++lane) {
    sum[lane] = std::fma(left, right[lane], sum[lane]);
  }
#endif
}

}  // namespace instseg
