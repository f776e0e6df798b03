// The detections of a box head: scores, boxes, suppression, and back to the original image.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "instseg/mask.hpp"
#include "ops/nms.hpp"

namespace instseg {

// Weights by which the deltas of a box head are divided.
inline constexpr std::array<float, 4> kBoxWeights{10.0F, 10.0F, 5.0F, 5.0F};
inline constexpr std::array<std::array<float, 4>, 3> kCascadeBoxWeights{
    {{10.0F, 10.0F, 5.0F, 5.0F}, {20.0F, 20.0F, 10.0F, 10.0F}, {30.0F, 30.0F, 15.0F, 15.0F}}};

// Between two stages of a cascade: the boxes that the deltas (one set of dx, dy, dw, dh per RoI,
// box_geometry.hpp) make of the RoIs, clipped to the image. `boxes` may hold the RoIs themselves.
// Throws Error(invalid_argument) for sizes that do not fit.
void refine_rois(std::span<const Box> rois, std::span<const float> deltas,
                 const std::array<float, 4>& weights, float image_height, float image_width,
                 std::vector<Box>& boxes);

// The mean over the sets of softmax(logits), row by row. Each set is rows x columns; one set for a
// plain head, one per stage for a cascade. Writes rows x columns to `probabilities`.
// A row with a NaN or plus infinity among its logits, or minus infinities alone, becomes NaN.
// Throws Error(invalid_argument) for no set, fewer than 1 column, and sizes that do not fit.
void mean_softmax(std::span<const std::span<const float>> logits, int columns,
                  std::vector<float>& probabilities);

struct BoxDecodeSpec {
  std::array<float, 4> weights = kBoxWeights;
  float image_height = 0.0F;  // the part of the network input that shows the image
  float image_width = 0.0F;
  NmsSpec nms{0.05F, 0.5F, -1, 100};
};

struct BoxDetection {
  int class_id = 0;
  int roi = 0;
  float score = 0.0F;
  Box box;  // pixels of the network input, clipped to the image
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct BoxDecodeScratch {
  std::vector<Box> boxes;  // classes x RoIs; only those that can be detected are written
  std::vector<float> scores;
  NmsScratch nms;
};

// probabilities: RoIs x (classes + 1), the last one the background's; deltas: RoIs x 4, for all
// classes, or RoIs x classes x 4.
//
// As in the reference, in this order: deltas applied, clipped to the image, per-class NMS with its
// score threshold and top-k (equal scores: the lower RoI goes first), all in pixels of the network
// input. The result is by rising class, in a class by rising RoI. A box may be empty after
// clipping; the reference's NMS sees it too. Throws Error(invalid_argument) for sizes that do not
// fit, an image size that is not positive, and thresholds that are NaN.
std::vector<BoxDetection> decode_boxes(std::span<const Box> rois, std::span<const float> deltas,
                                       std::span<const float> probabilities, int classes,
                                       const BoxDecodeSpec& spec, BoxDecodeScratch& scratch);

// A box of the network input in the original image: divided by the resize factors, then clipped.
// The reference drops what is empty then (x2 <= x1 or y2 <= y1).
Box box_in_image(const Box& box, float scale_x, float scale_y, int image_height, int image_width);

}  // namespace instseg
