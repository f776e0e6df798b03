#include "ops/box_decode.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

#include "instseg/error.hpp"
#include "ops/box_geometry.hpp"

namespace instseg {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "box decode: " + what);
}

void check_image(float height, float width) {
  if (!(height > 0.0F) || !(width > 0.0F) || !std::isfinite(height) || !std::isfinite(width)) {
    fail("an image of " + std::to_string(width) + " x " + std::to_string(height) +
         ", expected a positive size");
  }
}

// Adds softmax(logits) to `sums`.
void add_softmax(std::span<const float> logits, std::span<float> exponentials,
                 std::span<float> sums) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) {
    largest = std::max(largest, logit);
  }
  float total = 0.0F;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    exponentials[i] = std::exp(logits[i] - largest);
    total += exponentials[i];
  }
  for (std::size_t i = 0; i < logits.size(); ++i) {
    sums[i] += exponentials[i] / total;
  }
}

}  // namespace

void refine_rois(std::span<const Box> rois, std::span<const float> deltas,
                 const std::array<float, 4>& weights, float image_height, float image_width,
                 std::vector<Box>& boxes) {
  check_image(image_height, image_width);
  if (deltas.size() != rois.size() * 4) {
    fail(std::to_string(deltas.size()) + " deltas, expected 4 for each of " +
         std::to_string(rois.size()) + " RoIs");
  }
  boxes.resize(rois.size());  // shrinks at most, where `boxes` holds the RoIs
  for (std::size_t i = 0; i < rois.size(); ++i) {
    boxes[i] =
        clip_box(apply_deltas(rois[i], deltas.data() + i * 4, weights), image_height, image_width);
  }
}

void mean_softmax(std::span<const std::span<const float>> logits, int columns,
                  std::vector<float>& probabilities) {
  if (logits.empty() || columns < 1) {
    fail(std::to_string(logits.size()) + " sets of logits with " + std::to_string(columns) +
         " columns, expected at least one of each");
  }
  const std::size_t size = logits.front().size();
  const auto width = static_cast<std::size_t>(columns);
  for (const std::span<const float> set : logits) {
    if (set.size() != size || size % width != 0) {
      fail(std::to_string(set.size()) + " logits, expected whole rows of " +
           std::to_string(columns) + ", the same number in each set");
    }
  }
  // One row behind the result holds the exponentials.
  probabilities.assign(size + width, 0.0F);
  const std::span<float> exponentials = std::span(probabilities).last(width);
  for (const std::span<const float> set : logits) {
    for (std::size_t row = 0; row < size; row += width) {
      add_softmax(set.subspan(row, width), exponentials,
                  std::span(probabilities).subspan(row, width));
    }
  }
  probabilities.resize(size);
  const auto sets = static_cast<float>(logits.size());
  for (float& probability : probabilities) {
    probability /= sets;
  }
}

std::vector<BoxDetection> decode_boxes(std::span<const Box> rois, std::span<const float> deltas,
                                       std::span<const float> probabilities, int classes,
                                       const BoxDecodeSpec& spec, BoxDecodeScratch& scratch) {
  check_image(spec.image_height, spec.image_width);
  if (classes < 0) {
    fail(std::to_string(classes) + " classes, expected none or more");
  }
  const auto class_count = static_cast<std::size_t>(classes);
  const std::size_t count = rois.size();
  const bool own_boxes = deltas.size() != count * 4;
  if (probabilities.size() != count * (class_count + 1) ||
      (own_boxes && deltas.size() != count * class_count * 4)) {
    fail(std::to_string(probabilities.size()) + " probabilities and " +
         std::to_string(deltas.size()) + " deltas, expected " +
         std::to_string(count * (class_count + 1)) + " and " + std::to_string(count * 4) + " or " +
         std::to_string(count * class_count * 4) + " (" + std::to_string(count) + " RoIs, " +
         std::to_string(classes) + " classes and the background)");
  }
  scratch.boxes.resize(count * class_count);
  scratch.scores.resize(count * class_count);
  for (std::size_t roi = 0; roi < count; ++roi) {
    const float* scores = probabilities.data() + roi * (class_count + 1);
    for (std::size_t c = 0; c < class_count; ++c) {
      const std::size_t at = c * count + roi;
      scratch.scores[at] = scores[c];
      // Few are above the threshold; the NMS does not read the others' boxes.
      if (scores[c] > spec.nms.score_threshold) {
        const std::size_t row = own_boxes ? roi * class_count + c : roi;
        scratch.boxes[at] = clip_box(apply_deltas(rois[roi], deltas.data() + row * 4, spec.weights),
                                     spec.image_height, spec.image_width);
      }
    }
  }

  std::vector<BoxDetection> detections;
  for (const Candidate& candidate :
       multiclass_nms_own_boxes(scratch.boxes, scratch.scores, classes, spec.nms, scratch.nms)) {
    const std::size_t at = static_cast<std::size_t>(candidate.class_id) * count +
                           static_cast<std::size_t>(candidate.anchor);
    detections.push_back(
        {candidate.class_id, candidate.anchor, candidate.score, scratch.boxes[at]});
  }
  std::sort(detections.begin(), detections.end(), [](const BoxDetection& a, const BoxDetection& b) {
    return a.class_id != b.class_id ? a.class_id < b.class_id : a.roi < b.roi;
  });
  return detections;
}

Box box_in_image(const Box& box, float scale_x, float scale_y, int image_height, int image_width) {
  return clip_box({box.x1 / scale_x, box.y1 / scale_y, box.x2 / scale_x, box.y2 / scale_y},
                  static_cast<float>(image_height), static_cast<float>(image_width));
}

}  // namespace instseg
