// The logistic function for inner loops.
#pragma once

#include <span>

#include "maths/sigmoid.hpp"

namespace instseg {

// Replaces every value x by 1 / (1 + exp(-x)), with an absolute error below 2e-7. NaN counts as
// minus infinity; results are never below 1e-38.
inline void sigmoid(std::span<float> values) noexcept {
  // Two loops: in one, the compiler would make a separate path of the limits and vectorise neither.
  for (float& value : values) {
    value = bound_logit(value);
  }
  for (float& value : values) {
    value = logistic(value);
  }
}

}  // namespace instseg
