// The logistic function, one value at a time.
#pragma once

#include <bit>
#include <cstdint>

#include "maths/host_device.hpp"

namespace instseg {

// Bounds x so that exp of it is a normal number. NaN counts as minus infinity.
INSTSEG_HOST_DEVICE inline float bound_logit(float value) {
  constexpr float kLimit = 87.0F;
  const float raised = value > -kLimit ? value : -kLimit;
  return raised < kLimit ? raised : kLimit;
}

// 1 / (1 + exp(-x)) of a bounded x, with an absolute error below 2e-7.
INSTSEG_HOST_DEVICE inline float logistic(float value) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;  // few bits, so that n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // adding and subtracting it rounds to a whole number
  // exp(-value) = 2^n * exp(r), |r| <= ln(2) / 2
  const float negated = -value;
  const float n = (negated * kLog2E + kRound) - kRound;
  const float r = (negated - n * kLn2High) - n * kLn2Low;
  // Taylor series; what is left out is below 2e-7 of the sum.
  float exp_r = 1.0F / 720.0F;
  exp_r = exp_r * r + 1.0F / 120.0F;
  exp_r = exp_r * r + 1.0F / 24.0F;
  exp_r = exp_r * r + 1.0F / 6.0F;
  exp_r = exp_r * r + 0.5F;
  exp_r = exp_r * r + 1.0F;
  exp_r = exp_r * r + 1.0F;
  const float power = std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
  return 1.0F / (1.0F + power * exp_r);
}

}  // namespace instseg
