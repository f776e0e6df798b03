// Greedy non-maximum suppression per class.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "instseg/mask.hpp"

namespace instseg {

struct NmsSpec {
  float score_threshold = 0.0F;  // candidates: score > this
  float iou_threshold = 0.5F;    // suppressed by a better box of the same class: IoU > this
  int nms_top_k = -1;            // best candidates per class that enter; negative: all
  int keep_top_k = -1;           // best detections over all classes that leave; negative: all
};

struct Candidate {
  int class_id = 0;
  int anchor = 0;  // index into the boxes
  float score = 0.0F;
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct NmsScratch {
  std::vector<Candidate> candidates;  // of the class at hand
  std::vector<float> kept_x1, kept_y1, kept_x2, kept_y2, kept_area;
};

// `boxes`: one per anchor, any units; `scores`: classes x anchors, row-major.
// Returns the detections by rising class id, in a class by falling score; equal scores by rising
// anchor. Where keep_top_k cuts equal scores of different classes, the lower class id stays.
//
// The semantics are those of Paddle's multiclass_nms3 on the CPU (normalized = true, nms_eta = 1,
// no background class), with two exceptions: a box with a NaN coordinate is never kept, neither is
// a NaN score. As there, the IoU of boxes that do not touch is 0, a box with x2 < x1 or y2 < y1 has
// area 0, and where the IoU is 0 / 0 (two equal boxes without area) the second one is suppressed.
// Throws Error(invalid_argument) when classes is negative, the sizes of the spans do not fit, or a
// threshold is NaN.
std::vector<Candidate> multiclass_nms(std::span<const Box> boxes, std::span<const float> scores,
                                      int classes, const NmsSpec& spec, NmsScratch& scratch);

// The same where each class has boxes of its own: `boxes` and `scores` are both classes x anchors.
// Boxes whose score is not above the threshold are not read.
std::vector<Candidate> multiclass_nms_own_boxes(std::span<const Box> boxes,
                                                std::span<const float> scores, int classes,
                                                const NmsSpec& spec, NmsScratch& scratch);

// Greedy suppression alone, of boxes that are sorted, best first: a box goes when its IoU with a
// kept one is above the threshold, counted as above. Writes the indices of the boxes that are kept,
// at most `keep` of them (negative: all), in order. No box may have a NaN coordinate.
void suppress_sorted(std::span<const Box> boxes, float iou_threshold, int keep, NmsScratch& scratch,
                     std::vector<int>& kept);

}  // namespace instseg
