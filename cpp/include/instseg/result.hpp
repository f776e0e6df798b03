#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "instseg/export.hpp"
#include "instseg/mask.hpp"

namespace instseg {

// One detected object, in pixels of the original image.
struct Instance {
  int class_id = 0;
  float score = 0.0F;
  Box box{};        // as the model gives it: half-open, not clipped to the image
  PackedMask mask;  // lies inside the image
};

// Milliseconds of the network call that an image went through. A call carries `batch` images, and
// the times are those of the whole call: divide by `batch` for the cost of one image. Where the ops
// run on the GPU (Predictor::ops), all that it does counts as inference, from the copy of the
// pixels to the wait for the detections.
struct Timings {
  double preprocess_ms = 0.0;
  double inference_ms = 0.0;
  double postprocess_ms = 0.0;
  double total_ms = 0.0;  // the sum, and what lies between; without the wait for a free context
  int batch = 0;
};

// What was found in one image.
struct Result {
  int image_height = 0;
  int image_width = 0;
  std::vector<Instance> instances;  // by falling score; of ppyoloe_seg and mask_rcnn within a class
  Timings timings;
};

// How to_json writes a mask.
enum class MaskFormat {
  crop,  // PaddleX: nested lists of 0 and 1, cut to the box that was rounded (half to even) on each
         // side
  rle,   // COCO: {"size": [height, width], "counts": "…"} of the whole image
};

struct JsonOptions {
  std::optional<std::string_view> input_path;  // null in the JSON where absent
  std::optional<int> page_index;               // null in the JSON where absent
  std::span<const std::string> labels;         // one per class id
  std::string_view family{};  // the bundle's; entries of "solov2" have class_id as well as cls_id
  MaskFormat mask_format = MaskFormat::crop;
  int indent =
      -1;  // spaces per level as Python's json.dumps(indent=…) lays them out; negative: one line
};

// PaddleX's JSON of a result: input_path, page_index, boxes (cls_id, label, score, coordinate) and
// masks.
//
// Coordinates are clipped to the image; an instance whose clipped box is empty is left out, with
// its mask. The text is what Python's json.dumps(…, ensure_ascii=False) gives, number for number.
//
// Throws Error: invalid_argument where `labels` has no entry for a class id.
INSTSEG_API std::string to_json(const Result& result, const JsonOptions& options);

}  // namespace instseg
