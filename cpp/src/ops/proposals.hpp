// Region proposals: the best boxes of a region proposal network.
#pragma once

#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "instseg/mask.hpp"
#include "ops/nms.hpp"

namespace instseg {

// The anchors of one cell, its corner at (0, 0): for each size, for each aspect ratio (height /
// width), a box of area size^2 around the corner.
// Throws Error(invalid_argument) for a size or a ratio that is not positive and finite.
std::vector<Box> cell_anchors(std::span<const float> sizes, std::span<const float> aspect_ratios);

// All anchors of a map: the cell anchors moved by (x, y) * stride, by row, column, cell anchor.
// Throws Error(invalid_argument) for a negative size or more than 2^28 anchors.
std::vector<Box> generate_anchors(std::span<const Box> cell_anchors, float stride, int height,
                                  int width);

// What the network says about one feature map of one image. With A cell anchors, `scores` is
// A x height x width (any scale that rises with the probability) and `deltas` 4A x height x width,
// dx, dy, dw, dh for each anchor.
struct ProposalLevel {
  std::span<const float> scores;
  std::span<const float> deltas;
  int height = 0;
  int width = 0;
  float stride = 0.0F;
  std::span<const Box> cell_anchors;
};

struct ProposalSpec {
  int pre_nms_top_k = 1000;   // best anchors of a level that enter; below 1: all
  int post_nms_top_k = 1000;  // best boxes of a level, and of all levels, that leave; below 1: all
  float iou_threshold = 0.7F;
  float min_size = 0.0F;  // pixels; boxes narrower or lower than this, or than 1, are left out
};

struct Proposals {
  std::vector<Box> boxes;  // pixels of the network input, clipped to the image
  std::vector<float> scores;
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct ProposalScratch {
  struct Ranked {
    float score = 0.0F;
    int anchor = 0;
  };
  struct Level {
    std::vector<Ranked> ranked;
    std::vector<Box> boxes;  // decoded and clipped, best first
    std::vector<float> scores;
    std::vector<int> kept;
    NmsScratch nms;
  };
  std::vector<Level> levels;
  std::vector<Ranked> collected;
  std::vector<Box> sorted;
};

// image_height, image_width: the part of the network input that shows the image, without padding.
//
// Per level: the pre_nms_top_k best anchors; deltas applied (box_geometry.hpp, weights 1); clipped
// to the image; small boxes left out; greedy NMS; the post_nms_top_k best. Then, where there is
// more than one level and they have more than post_nms_top_k boxes together, the best of all by
// falling score; else the levels one after the other. Writes to `proposals`, whose memory is used
// again.
//
// These are the semantics of Paddle's generate_proposals (pixel_offset False, eta 1) and of the
// collection over levels, with these additions: equal scores count by rising anchor (row, column,
// cell anchor), and over levels by rising level, where Paddle leaves the order open; an anchor
// whose score is NaN or minus infinity, or whose box has a NaN, is left out; a level without a box
// gives none, where Paddle makes up a box 0, 0, 0, 0 with score 0.
// Throws Error(invalid_argument) for sizes that do not fit, a stride or an image size that is not
// positive, and an IoU threshold or a minimum size that is NaN.
void generate_proposals(std::span<const ProposalLevel> levels, float image_height,
                        float image_width, const ProposalSpec& spec, ThreadPool& pool,
                        ProposalScratch& scratch, Proposals& proposals);

}  // namespace instseg
