#include "ops/matrix_product.hpp"

#include <algorithm>
#include <cstring>

#include "ops/fused_product.hpp"
#include "ops/instruction_set.hpp"

#ifdef INSTSEG_HAS_AVX2_VERSIONS
#include <immintrin.h>
#endif

namespace instseg {
namespace {

// A panel's part of the product: kRowGroup rows x kPanel columns, all sums in registers.
#ifdef INSTSEG_HAS_AVX2_VERSIONS
[[gnu::target("avx2,fma")]] void multiply_panel_avx2(const float* rows, const float* panel,
                                                     int depth, float* out, std::ptrdiff_t stride) {
  static_assert(LeftMatrix::kRowGroup == 4 && RightBlock::kPanel == 16);
  __m256 a0{}, a1{}, a2{}, a3{}, b0{}, b1{}, b2{}, b3{};
  for (int k = 0; k < depth; ++k, rows += LeftMatrix::kRowGroup, panel += RightBlock::kPanel) {
    const __m256 a = _mm256_loadu_ps(panel);
    const __m256 b = _mm256_loadu_ps(panel + 8);
    __m256 row = _mm256_broadcast_ss(rows);
    a0 = _mm256_fmadd_ps(row, a, a0);
    b0 = _mm256_fmadd_ps(row, b, b0);
    row = _mm256_broadcast_ss(rows + 1);
    a1 = _mm256_fmadd_ps(row, a, a1);
    b1 = _mm256_fmadd_ps(row, b, b1);
    row = _mm256_broadcast_ss(rows + 2);
    a2 = _mm256_fmadd_ps(row, a, a2);
    b2 = _mm256_fmadd_ps(row, b, b2);
    row = _mm256_broadcast_ss(rows + 3);
    a3 = _mm256_fmadd_ps(row, a, a3);
    b3 = _mm256_fmadd_ps(row, b, b3);
  }
  _mm256_storeu_ps(out, a0);
  _mm256_storeu_ps(out + 8, b0);
  _mm256_storeu_ps(out + stride, a1);
  _mm256_storeu_ps(out + stride + 8, b1);
  _mm256_storeu_ps(out + 2 * stride, a2);
  _mm256_storeu_ps(out + 2 * stride + 8, b2);
  _mm256_storeu_ps(out + 3 * stride, a3);
  _mm256_storeu_ps(out + 3 * stride + 8, b3);
}
#endif

void multiply_panel(const float* rows, const float* panel, int depth, float* out,
                    std::ptrdiff_t stride) {
  constexpr int kLanes = 4;
  for (int first = 0; first < RightBlock::kPanel; first += kLanes) {
    float sums[LeftMatrix::kRowGroup][kLanes] = {};
    for (int k = 0; k < depth; ++k) {
      const float* const row = rows + std::ptrdiff_t{k} * LeftMatrix::kRowGroup;
      const float* const right = panel + std::ptrdiff_t{k} * RightBlock::kPanel + first;
      for (int i = 0; i < LeftMatrix::kRowGroup; ++i) {
        add_product(row[i], right, sums[i]);
      }
    }
    for (int i = 0; i < LeftMatrix::kRowGroup; ++i) {
      std::memcpy(out + i * stride + first, sums[i], sizeof sums[i]);
    }
  }
}

auto* choose_multiply_panel() {
#ifdef INSTSEG_HAS_AVX2_VERSIONS
  if (instruction_set_in_use.load(std::memory_order_relaxed) == InstructionSet::avx2) {
    return &multiply_panel_avx2;
  }
#endif
  return &multiply_panel;
}

}  // namespace

void RightBlock::pack(const float* right, std::ptrdiff_t stride, int depth, int columns) {
  depth_ = depth;
  columns_ = columns;
  values_.resize(static_cast<std::size_t>(panels()) * kPanel * static_cast<std::size_t>(depth));
  // Along the rows of the matrix, which memory delivers faster than columns.
  const std::ptrdiff_t panel_size = std::ptrdiff_t{kPanel} * depth;
  const int whole = columns / kPanel;
  const int rest = columns % kPanel;
  for (int k = 0; k < depth; ++k, right += stride) {
    float* out = values_.data() + std::ptrdiff_t{k} * kPanel;
    const float* source = right;
    for (int panel = 0; panel < whole; ++panel, source += kPanel, out += panel_size) {
      std::memcpy(out, source, kPanel * sizeof(float));  // of a size that the compiler knows
    }
    if (rest > 0) {
      std::copy_n(source, rest, out);
      std::fill(out + rest, out + kPanel, 0.0F);
    }
  }
}

void multiply_rows(const LeftMatrix& left, int group, const RightBlock& right, float* out,
                   std::ptrdiff_t stride) {
  auto* const multiply = choose_multiply_panel();
  for (int panel = 0; panel < right.panels(); ++panel) {
    multiply(left.group(group), right.panel(panel), left.depth(),
             out + std::ptrdiff_t{panel} * RightBlock::kPanel, stride);
  }
}

}  // namespace instseg
