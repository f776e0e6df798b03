// The logistic function for inner loops.
#pragma once

#include <cstddef>
#include <span>

#include "maths/sigmoid.hpp"
#include "ops/instruction_set.hpp"

namespace instseg {

struct Sigmoid {
  [[gnu::always_inline]] static void run(float* values, std::size_t count) noexcept {
    // Two loops: in one, the compiler would make a separate path of the limits and vectorise
    // neither.
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = bound_logit(values[i]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = logistic(values[i]);
    }
  }
};

// Replaces every value x by 1 / (1 + exp(-x)), with an absolute error below 2e-7. NaN counts as
// minus infinity; results are never below 1e-38.
inline void sigmoid(std::span<float> values) noexcept {
  run_kernel<Sigmoid>(values.data(), values.size());
}

}  // namespace instseg
