// Transpositions of small blocks of floats, for kernels (instruction_set.hpp).
#pragma once

#include <cstddef>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

namespace instseg {

// out[column * out_stride + row] = in[row * in_stride + column], 4 x 4.
[[gnu::always_inline]] inline void transpose_4x4(const float* in, std::ptrdiff_t in_stride,
                                                 float* out, std::ptrdiff_t out_stride) {
#ifdef __SSE2__
  __m128 r0 = _mm_loadu_ps(in);
  __m128 r1 = _mm_loadu_ps(in + in_stride);
  __m128 r2 = _mm_loadu_ps(in + 2 * in_stride);
  __m128 r3 = _mm_loadu_ps(in + 3 * in_stride);
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  _mm_storeu_ps(out, r0);
  _mm_storeu_ps(out + out_stride, r1);
  _mm_storeu_ps(out + 2 * out_stride, r2);
  _mm_storeu_ps(out + 3 * out_stride, r3);
#else
  for (std::ptrdiff_t column = 0; column < 4; ++column) {
    for (std::ptrdiff_t row = 0; row < 4; ++row) {
      out[column * out_stride + row] = in[row * in_stride + column];
    }
  }
#endif
}

// size x size values, both row-major. size: a multiple of 4.
template <int size>
[[gnu::always_inline]] inline void transpose_tile(const float* in, float* out) {
  static_assert(size % 4 == 0);
  for (int row = 0; row < size; row += 4) {
    for (int column = 0; column < size; column += 4) {
      transpose_4x4(in + row * size + column, size, out + column * size + row, size);
    }
  }
}

// From rows x columns to columns x rows. columns: a multiple of 4.
template <int columns>
[[gnu::always_inline]] inline void transpose_columns(const float* in, std::size_t rows,
                                                     float* out) {
  static_assert(columns % 4 == 0);
  const auto stride = static_cast<std::ptrdiff_t>(rows);
  std::size_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    for (std::size_t column = 0; column < columns; column += 4) {
      transpose_4x4(in + row * columns + column, columns, out + column * rows + row, stride);
    }
  }
  for (; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      out[column * rows + row] = in[row * columns + column];
    }
  }
}

}  // namespace instseg
