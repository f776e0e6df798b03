// Multiplication and addition with one rounding.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace instseg {

// a * b + c rounded once, by other operations: for processors without the instruction. Some seven
// times slower than two roundings, but without branches or calls, unlike the library's function.
inline float emulate_fused_multiply_add(float a, float b, float c) noexcept {
  const double product = double{a} * double{b};  // exact
  const double addend = double{c};
  const double sum = product + addend;
  const double part = sum - product;
  const double error = (product - (sum - part)) + (addend - part);
  // To odd: where the sum is not exact, its last bit tells so to the second rounding, which has
  // more than two bits less. An error that is NaN comes from a sum that is not finite.
  auto bits = std::bit_cast<std::int64_t>(sum);
  const std::int64_t inexact = (error > 0.0 ? 1 : 0) | (error < 0.0 ? 1 : 0);
  const std::int64_t toward = ((error > 0.0) == (sum > 0.0)) ? 1 : -1;
  bits += (inexact & ~bits) * toward;
  return static_cast<float>(std::bit_cast<double>(bits));
}

// The same with the instruction, where the library is compiled for it.
[[gnu::always_inline]] inline float fused_multiply_add(float a, float b, float c) noexcept {
#ifdef __FP_FAST_FMAF
  return std::fma(a, b, c);
#else
  return emulate_fused_multiply_add(a, b, c);
#endif
}

}  // namespace instseg
