// The box of one anchor.
#pragma once

#include "instseg/mask.hpp"
#include "maths/host_device.hpp"

namespace instseg {

// A cell's anchor, moved to that cell.
INSTSEG_HOST_DEVICE inline Box anchor_at(const Box& cell_anchor, float stride, int column,
                                         int row) {
  const float x = static_cast<float>(column) * stride;
  const float y = static_cast<float>(row) * stride;
  return {x + cell_anchor.x1, y + cell_anchor.y1, x + cell_anchor.x2, y + cell_anchor.y2};
}

// Is the box wide and high enough? False for NaN.
INSTSEG_HOST_DEVICE inline bool is_large(const Box& box, float min_size) {
  return box.x2 - box.x1 >= min_size && box.y2 - box.y1 >= min_size;
}

}  // namespace instseg
