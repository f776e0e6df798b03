// AVX-512's vectors, for files that are compiled for it and run only where the processor has it. Of
// an unnamed namespace: the linker must not take what is here for other processors.
#include <immintrin.h>

namespace instseg::winograd {
namespace {

struct Simd {
  using Vector = __m512;
  static constexpr int kLanes = 16;
  // 14 x 2 sums, 2 vectors of weights and an element of a tile: 31 of 32 registers.
  static constexpr int kTiles = 14;
  static constexpr int kPanelVectors = 2;
  static constexpr bool kManyRegisters = true;  // 32

  static Vector all(float value) { return _mm512_set1_ps(value); }
  static Vector load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Vector value) { _mm512_storeu_ps(to, value); }
  static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  static Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
  static Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  static Vector divide(Vector a, Vector b) { return _mm512_div_ps(a, b); }
  static Vector minimum(Vector a, Vector b) { return _mm512_min_ps(a, b); }
  static Vector maximum(Vector a, Vector b) { return _mm512_max_ps(a, b); }
  static Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  static Vector negated_multiply_add(Vector a, Vector b, Vector c) {
    return _mm512_fnmadd_ps(a, b, c);
  }

  static Vector nearest(Vector a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // 2 to a whole number.
  static Vector power_of_two(Vector a) { return _mm512_scalef_ps(all(1.0F), a); }

  // Lanes [begin, end) of what lies at `from`, the others 0 and not read.
  static Vector load_part(const float* from, int begin, int end) {
    const unsigned lanes = ((1U << end) - 1U) & ~((1U << begin) - 1U);
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes), from);
  }
  // Lanes [0, end).
  static void store_part(float* to, int end, Vector value) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1U << end) - 1U), value);
  }

  // Of a square of 16 x 16.
  [[gnu::always_inline]] static void transpose(Vector* rows) {
    Vector half[16];
    // Rows 4 * r to 4 * r + 3: in each quarter a square of 4 x 4.
#pragma GCC unroll 4
    for (int r = 0; r < 16; r += 4) {
      const __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[r], rows[r + 1]));
      const __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[r], rows[r + 1]));
      const __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[r + 2], rows[r + 3]));
      const __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[r + 2], rows[r + 3]));
      half[r] = _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23));
      half[r + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23));
      half[r + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23));
      half[r + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23));
    }
    // The quarters themselves.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const Vector low01 = _mm512_shuffle_f32x4(half[c], half[4 + c], 0x88);
      const Vector high01 = _mm512_shuffle_f32x4(half[c], half[4 + c], 0xdd);
      const Vector low23 = _mm512_shuffle_f32x4(half[8 + c], half[12 + c], 0x88);
      const Vector high23 = _mm512_shuffle_f32x4(half[8 + c], half[12 + c], 0xdd);
      rows[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);
      rows[4 + c] = _mm512_shuffle_f32x4(high01, high23, 0x88);
      rows[8 + c] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
      rows[12 + c] = _mm512_shuffle_f32x4(high01, high23, 0xdd);
    }
  }
};

}  // namespace
}  // namespace instseg::winograd
