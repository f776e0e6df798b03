// Which optimization profile takes given input shapes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "backends/plugin_api.h"
#include "backends/tensorrt/engine.hpp"

namespace instseg::tensorrt_backend {

// "[1, 3, 640, 640]"
std::string shape_text(std::span<const std::int64_t> shape);

inline std::span<const std::int64_t> shape_of(const instseg_memory& memory) {
  return {memory.shape, static_cast<std::size_t>(memory.rank)};
}

// The profile that takes the inputs; of several the one whose optimum is nearest: with the least
// quotient of elements. Throws StatusError(INCOMPATIBLE_ENGINE) where none does, with the input
// that does not fit and what the profiles take.
std::size_t choose_profile(const Engine& engine, const instseg_memory* inputs);

}  // namespace instseg::tensorrt_backend
