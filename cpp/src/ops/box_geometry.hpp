// What the box ops share: deltas against a box, clipping, and whether a box suppresses another.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "instseg/mask.hpp"
#include "maths/host_device.hpp"

namespace instseg {

// The box that deltas (dx, dy, dw, dh), each divided by its weight, make of `box`: the centre moves
// by dx, dy sizes, and the size grows by exp(dw), exp(dh), where dw and dh count as at most
// log(1000 / 16). Not clipped. NaN stays NaN.
INSTSEG_HOST_DEVICE inline Box apply_deltas(const Box& box, const float* deltas,
                                            const std::array<float, 4>& weights) {
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
INSTSEG_HOST_DEVICE inline Box clip_box(const Box& box, float height, float width) {
  const auto clip = [](float value, float limit) { return std::max(std::min(value, limit), 0.0F); };
  return {clip(box.x1, width), clip(box.y1, height), clip(box.x2, width), clip(box.y2, height)};
}

INSTSEG_HOST_DEVICE inline bool has_nan(const Box& box) {
  return std::isnan(box.x1) || std::isnan(box.y1) || std::isnan(box.x2) || std::isnan(box.y2);
}

// A box that is inverted has none.
INSTSEG_HOST_DEVICE inline float area_of(const Box& box) {
  return box.x2 < box.x1 || box.y2 < box.y1 ? 0.0F : (box.x2 - box.x1) * (box.y2 - box.y1);
}

// 1 where the IoU of a box with one that was kept is above the threshold, else 0. The IoU of boxes
// that do not touch is 0; an IoU of 0 / 0 suppresses. No branches, so that loops vectorise.
INSTSEG_HOST_DEVICE inline int suppresses(const Box& kept, float kept_area, const Box& box,
                                          float area, float iou_threshold) {
  const int zero_suppresses = 0.0F <= iou_threshold ? 0 : 1;
  const float left = box.x1 < kept.x1 ? kept.x1 : box.x1;
  const float right = kept.x2 < box.x2 ? kept.x2 : box.x2;
  const float top = box.y1 < kept.y1 ? kept.y1 : box.y1;
  const float bottom = kept.y2 < box.y2 ? kept.y2 : box.y2;
  const float intersection = (right - left) * (bottom - top);
  const float iou = intersection / (area + kept_area - intersection);
  const int apart =
      int{kept.x1 > box.x2} | int{kept.x2 < box.x1} | int{kept.y1 > box.y2} | int{kept.y2 < box.y1};
  const int iou_suppresses = 1 - int{iou <= iou_threshold};  // NaN suppresses
  return (apart & zero_suppresses) | ((1 - apart) & iou_suppresses);
}

}  // namespace instseg
