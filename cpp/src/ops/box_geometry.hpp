// What the box ops share: deltas against a box, and clipping.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "instseg/mask.hpp"

namespace instseg {

// The box that deltas (dx, dy, dw, dh), each divided by its weight, make of `box`: the centre moves
// by dx, dy sizes, and the size grows by exp(dw), exp(dh), where dw and dh count as at most
// log(1000 / 16). Not clipped. NaN stays NaN.
inline Box apply_deltas(const Box& box, const float* deltas, const std::array<float, 4>& weights) {
  constexpr float kMaxLogScale = 4.13516656F;  // log(1000 / 16)
  const float width = box.x2 - box.x1;
  const float height = box.y2 - box.y1;
  const float dw = deltas[2] / weights[2];
  const float dh = deltas[3] / weights[3];
  const float center_x = deltas[0] / weights[0] * width + (box.x1 + 0.5F * width);
  const float center_y = deltas[1] / weights[1] * height + (box.y1 + 0.5F * height);
  // In this order std::min hands on a NaN.
  const float half_width = 0.5F * (std::exp(std::min(dw, kMaxLogScale)) * width);
  const float half_height = 0.5F * (std::exp(std::min(dh, kMaxLogScale)) * height);
  return {center_x - half_width, center_y - half_height, center_x + half_width,
          center_y + half_height};
}

// Into 0 … width, 0 … height. NaN stays NaN.
inline Box clip_box(const Box& box, float height, float width) {
  const auto clip = [](float value, float limit) { return std::max(std::min(value, limit), 0.0F); };
  return {clip(box.x1, width), clip(box.y1, height), clip(box.x2, width), clip(box.y2, height)};
}

}  // namespace instseg
