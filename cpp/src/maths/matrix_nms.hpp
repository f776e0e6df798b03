// The numbers of matrix NMS for one pair of masks.
#pragma once

#include <cmath>

#include "maths/host_device.hpp"

namespace instseg {

// From the cells that two masks share, and the areas of both.
INSTSEG_HOST_DEVICE inline float mask_iou(int common, int area_a, int area_b) {
  const auto shared = static_cast<float>(common);
  return shared / (static_cast<float>(area_a) + static_cast<float>(area_b) - shared);
}

// By how much a better mask lowers a score: `iou` with it, and the largest IoU of that one with a
// mask that is better still. NaN for a linear 0 / 0.
INSTSEG_HOST_DEVICE inline float matrix_decay(float iou, float compensation, bool gaussian,
                                              float sigma) {
  return gaussian
             ? std::exp(-sigma * (iou * iou)) / std::exp(-sigma * (compensation * compensation))
             : (1.0F - iou) / (1.0F - compensation);
}

}  // namespace instseg
