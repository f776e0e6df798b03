#include "ops/matrix_product.hpp"

#include <algorithm>
#include <cstring>

namespace instseg {
namespace {

// Two instruction sets where the compiler can make both; the choice is made when the program runs.
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define INSTSEG_HAS_AVX2_CLONE 1
#endif

// Eight floats; without AVX the compiler makes two operations of each.
using Floats = float __attribute__((vector_size(32)));

// Half a panel: kRowGroup rows x 8 columns, all sums in registers.
[[gnu::always_inline]] inline void multiply_half_panel(const float* left, const float* panel,
                                                       int depth, float* out,
                                                       std::ptrdiff_t stride) {
  Floats sum0{};
  Floats sum1{};
  Floats sum2{};
  Floats sum3{};
  for (int k = 0; k < depth; ++k) {
    Floats right;
    std::memcpy(&right, panel + std::ptrdiff_t{k} * RightBlock::kPanel, sizeof right);
    const float* const row = left + std::ptrdiff_t{k} * LeftMatrix::kRowGroup;
    sum0 += row[0] * right;
    sum1 += row[1] * right;
    sum2 += row[2] * right;
    sum3 += row[3] * right;
  }
  std::memcpy(out, &sum0, sizeof sum0);
  std::memcpy(out + stride, &sum1, sizeof sum1);
  std::memcpy(out + 2 * stride, &sum2, sizeof sum2);
  std::memcpy(out + 3 * stride, &sum3, sizeof sum3);
}

[[gnu::always_inline]] inline void multiply_all(const LeftMatrix& left, int group,
                                                const RightBlock& right, float* out,
                                                std::ptrdiff_t stride) {
  const float* const rows = left.group(group);
  for (int panel = 0; panel < right.panels(); ++panel) {
    float* const target = out + std::ptrdiff_t{panel} * RightBlock::kPanel;
    multiply_half_panel(rows, right.panel(panel), left.depth(), target, stride);
    multiply_half_panel(rows, right.panel(panel) + 8, left.depth(), target + 8, stride);
  }
}

#ifdef INSTSEG_HAS_AVX2_CLONE
// A whole panel: kRowGroup rows x 16 columns; enough independent sums to keep two units busy.
[[gnu::target("avx2,fma")]] void multiply_avx2(const LeftMatrix& left, int group,
                                               const RightBlock& right, float* out,
                                               std::ptrdiff_t stride) {
  const float* const rows = left.group(group);
  const int depth = left.depth();
  for (int index = 0; index < right.panels(); ++index) {
    const float* const panel = right.panel(index);
    Floats a0{}, a1{}, a2{}, a3{}, b0{}, b1{}, b2{}, b3{};
    for (int k = 0; k < depth; ++k) {
      Floats a;
      Floats b;
      std::memcpy(&a, panel + std::ptrdiff_t{k} * RightBlock::kPanel, sizeof a);
      std::memcpy(&b, panel + std::ptrdiff_t{k} * RightBlock::kPanel + 8, sizeof b);
      const float* const row = rows + std::ptrdiff_t{k} * LeftMatrix::kRowGroup;
      a0 += row[0] * a;
      b0 += row[0] * b;
      a1 += row[1] * a;
      b1 += row[1] * b;
      a2 += row[2] * a;
      b2 += row[2] * b;
      a3 += row[3] * a;
      b3 += row[3] * b;
    }
    float* const target = out + std::ptrdiff_t{index} * RightBlock::kPanel;
    std::memcpy(target, &a0, sizeof a0);
    std::memcpy(target + 8, &b0, sizeof b0);
    std::memcpy(target + stride, &a1, sizeof a1);
    std::memcpy(target + stride + 8, &b1, sizeof b1);
    std::memcpy(target + 2 * stride, &a2, sizeof a2);
    std::memcpy(target + 2 * stride + 8, &b2, sizeof b2);
    std::memcpy(target + 3 * stride, &a3, sizeof a3);
    std::memcpy(target + 3 * stride + 8, &b3, sizeof b3);
  }
}
#endif

void multiply_plain(const LeftMatrix& left, int group, const RightBlock& right, float* out,
                    std::ptrdiff_t stride) {
  multiply_all(left, group, right, out, stride);
}

auto* choose() {
#ifdef INSTSEG_HAS_AVX2_CLONE
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return &multiply_avx2;
  }
#endif
  return &multiply_plain;
}

}  // namespace

void RightBlock::pack(const float* right, std::ptrdiff_t stride, int depth, int columns) {
  depth_ = depth;
  columns_ = columns;
  values_.resize(static_cast<std::size_t>(panels()) * kPanel * static_cast<std::size_t>(depth));
  float* out = values_.data();
  for (int panel = 0; panel < panels(); ++panel) {
    const int width = std::min(kPanel, columns - panel * kPanel);
    const float* source = right + std::ptrdiff_t{panel} * kPanel;
    for (int k = 0; k < depth; ++k, source += stride, out += kPanel) {
      std::copy_n(source, width, out);
      std::fill(out + width, out + kPanel, 0.0F);
    }
  }
}

void multiply_rows(const LeftMatrix& left, int group, const RightBlock& right, float* out,
                   std::ptrdiff_t stride) {
  static auto* const multiply = choose();
  multiply(left, group, right, out, stride);
}

}  // namespace instseg
