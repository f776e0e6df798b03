// Shapes of the plug-in interface beside those of OpenVINO.
#pragma once

#include <algorithm>
#include <cstdint>
#include <openvino/openvino.hpp>
#include <span>

#include "backends/openvino/openvino_session.hpp"
#include "backends/plugin_status.hpp"

namespace instseg::openvino_backend {

inline std::span<const std::int64_t> shape_of(const instseg_memory& memory) {
  return {memory.shape, static_cast<std::size_t>(memory.rank)};
}

inline bool equal(const instseg_memory& memory, const ov::Shape& shape) {
  return std::ranges::equal(shape_of(memory), shape, {}, {},
                            [](std::size_t size) { return static_cast<std::int64_t>(size); });
}

inline ov::Shape to_shape(const instseg_memory& memory) {
  ov::Shape shape;
  for (const std::int64_t size : shape_of(memory)) {
    shape.push_back(static_cast<std::size_t>(size));
  }
  return shape;
}

// Does the caller's memory have the shape in which the output comes out?
inline void check_shape(const Port& port, const instseg_memory& memory, const ov::Shape& shape) {
  if (!equal(memory, shape)) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL, "output '" + port.name + "' has shape " +
                                                    shape.to_string() + ", expected " +
                                                    to_shape(memory).to_string());
  }
}

}  // namespace instseg::openvino_backend
