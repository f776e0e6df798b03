// What the manifest of a bundle of family mask_rcnn says.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "instseg/bundle.hpp"
#include "ops/nms.hpp"
#include "ops/proposals.hpp"
#include "ops/roi_align.hpp"

namespace instseg {

struct AnchorMapLayout {
  float stride = 0.0F;
  std::vector<Box> cell_anchors;
};

struct BoxHeadLayout {
  std::string stage;
  RoiAlignSpec roi_align;
  int deltas = 0;  // per RoI: 4, or 4 for each class
  std::array<float, 4> weights{};
};

struct MaskHeadLayout {
  std::string stage;
  RoiAlignSpec roi_align;
  int rows = 0;  // of the map of a class
  int columns = 0;
  float threshold = 0.0F;  // mask = probability >= this
};

struct MaskRcnnLayout {
  int classes = 0;
  std::vector<AnchorMapLayout> anchor_maps;
  ProposalSpec proposals;
  std::vector<float> feature_strides;
  std::vector<BoxHeadLayout> box_heads;  // one, or those of a cascade in their order
  NmsSpec nms;                           // of the detections
  MaskHeadLayout mask_head;

  // Positions of the outputs of stage `features` among output_names().
  [[nodiscard]] std::size_t feature(std::size_t map) const { return map; }
  [[nodiscard]] std::size_t rpn_logits(std::size_t map) const {
    return feature_strides.size() + map;
  }
  [[nodiscard]] std::size_t rpn_deltas(std::size_t map) const {
    return feature_strides.size() + anchor_maps.size() + map;
  }
  [[nodiscard]] std::vector<std::string> output_names() const;
};

inline constexpr const char* kFeaturesStage = "features";

// Throws Error(bad_bundle) where stages or decode parameters are not what the family needs.
MaskRcnnLayout read_mask_rcnn(const BundleInfo& bundle);

}  // namespace instseg
