// AVX2's and FMA's vectors, for files that are compiled for them and run only where the processor
// has them. Of an unnamed namespace: the linker must not take what is here for other processors.
#include <immintrin.h>

namespace instseg::winograd {
namespace {

struct Simd {
  using Vector = __m256;
  static constexpr int kLanes = 8;
  // 6 x 2 sums, 2 vectors of weights and an element of a tile: 15 of 16 registers.
  static constexpr int kTiles = 6;
  static constexpr int kPanelVectors = 2;
  static constexpr bool kManyRegisters = false;  // 32

  static Vector all(float value) { return _mm256_set1_ps(value); }
  static Vector load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Vector value) { _mm256_storeu_ps(to, value); }
  static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  static Vector subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
  static Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
  static Vector divide(Vector a, Vector b) { return _mm256_div_ps(a, b); }
  static Vector minimum(Vector a, Vector b) { return _mm256_min_ps(a, b); }
  static Vector maximum(Vector a, Vector b) { return _mm256_max_ps(a, b); }
  static Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
  static Vector negated_multiply_add(Vector a, Vector b, Vector c) {
    return _mm256_fnmadd_ps(a, b, c);
  }

  static Vector nearest(Vector a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // 2 to a whole number from -126 to 127.
  static Vector power_of_two(Vector a) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
  }

  // Lanes [begin, end) of what lies at `from`, the others 0 and not read.
  static Vector load_part(const float* from, int begin, int end) {
    const __m256i lanes = lane_numbers();
    const __m256i inside = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(begin), lanes),
                                               _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lanes));
    return _mm256_maskload_ps(from, inside);
  }
  // Lanes [0, end).
  static void store_part(float* to, int end, Vector value) {
    _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane_numbers()), value);
  }

  // Of a square of 8 x 8.
  [[gnu::always_inline]] static void transpose(Vector* rows) {
    Vector half[8];
    // Rows 4 * r to 4 * r + 3: in each half a square of 4 x 4.
#pragma GCC unroll 2
    for (int r = 0; r < 8; r += 4) {
      const Vector low01 = _mm256_unpacklo_ps(rows[r], rows[r + 1]);
      const Vector high01 = _mm256_unpackhi_ps(rows[r], rows[r + 1]);
      const Vector low23 = _mm256_unpacklo_ps(rows[r + 2], rows[r + 3]);
      const Vector high23 = _mm256_unpackhi_ps(rows[r + 2], rows[r + 3]);
      half[r] = _mm256_shuffle_ps(low01, low23, 0x44);
      half[r + 1] = _mm256_shuffle_ps(low01, low23, 0xee);
      half[r + 2] = _mm256_shuffle_ps(high01, high23, 0x44);
      half[r + 3] = _mm256_shuffle_ps(high01, high23, 0xee);
    }
    // The halves themselves.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      rows[c] = _mm256_permute2f128_ps(half[c], half[4 + c], 0x20);
      rows[4 + c] = _mm256_permute2f128_ps(half[c], half[4 + c], 0x31);
    }
  }

 private:
  static __m256i lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
};

}  // namespace
}  // namespace instseg::winograd
