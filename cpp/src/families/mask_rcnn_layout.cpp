#include "families/mask_rcnn_layout.hpp"

#include <algorithm>
#include <bit>

#include "backends/session.hpp"
#include "families/decode_parameters.hpp"
#include "families/stage_check.hpp"
#include "instseg/image.hpp"

namespace instseg {
namespace {

constexpr std::size_t kMaxMaps = 8;
constexpr std::size_t kMaxBoxHeads = 8;
constexpr std::size_t kMaxSizes = 64;  // of anchors, over all maps
constexpr int kMaxStride = 1024;       // network pixels per cell

std::string numbered(const char* name, std::size_t number) { return name + std::to_string(number); }

void read_anchors(const BundleInfo& bundle, MaskRcnnLayout& layout) {
  const std::vector<int> strides =
      decode_integers(bundle, "anchor_strides", {1, kMaxMaps, 1, kMaxStride});
  const std::vector<float> sizes =
      decode_numbers(bundle, "anchor_sizes", {strides.size(), kMaxSizes, 1.0, 1e5});
  const std::vector<float> ratios =
      decode_numbers(bundle, "anchor_aspect_ratios", {1, kMaxSizes, 0.01, 100.0});
  if (sizes.size() % strides.size() != 0) {
    fail_manifest(bundle, "key 'decode.anchor_sizes' must have as many sizes for each of the " +
                              std::to_string(strides.size()) +
                              " maps of decode.anchor_strides, found " +
                              std::to_string(sizes.size()) + " sizes");
  }
  const std::size_t per_map = sizes.size() / strides.size();
  for (std::size_t i = 0; i < strides.size(); ++i) {
    layout.anchor_maps.push_back(
        {static_cast<float>(strides[i]),
         cell_anchors(std::span(sizes).subspan(i * per_map, per_map), ratios)});
  }
}

void read_thresholds(const BundleInfo& bundle, MaskRcnnLayout& layout) {
  constexpr double kMaxMinSize = 1e4;
  // With 0 every pixel of the image would be set.
  constexpr double kLeastMaskThreshold = 1e-6;
  ProposalSpec& proposals = layout.proposals;
  proposals.pre_nms_top_k = decode_integer(bundle, "rpn_pre_nms_top_n", 1, kMaxTopK);
  proposals.post_nms_top_k = decode_integer(bundle, "rpn_post_nms_top_n", 1, kMaxTopK);
  proposals.iou_threshold =
      static_cast<float>(decode_number(bundle, "rpn_nms_iou_threshold", 0.0, 1.0));
  proposals.min_size = static_cast<float>(decode_number(bundle, "rpn_min_size", 0.0, kMaxMinSize));
  layout.nms.score_threshold =
      static_cast<float>(decode_number(bundle, "score_threshold", 0.0, 1.0));
  layout.nms.iou_threshold =
      static_cast<float>(decode_number(bundle, "nms_iou_threshold", 0.0, 1.0));
  layout.nms.keep_top_k = decode_integer(bundle, "keep_top_k", kAllEntries, kMaxTopK);
  layout.mask_head.threshold =
      static_cast<float>(decode_number(bundle, "mask_threshold", kLeastMaskThreshold, 1.0));
}

// Strides of the maps that RoIs are cut from, and which of them a RoI reads.
RoiAlignSpec read_roi_align(const BundleInfo& bundle, MaskRcnnLayout& layout) {
  const std::vector<int> strides =
      decode_integers(bundle, "feature_strides", {1, kMaxMaps, 1, kMaxStride});
  for (std::size_t i = 0; i < strides.size(); ++i) {
    const auto stride = static_cast<unsigned>(strides[i]);
    // The map of a RoI is found by the logarithm of its size.
    if (!std::has_single_bit(stride) || (i > 0 && strides[i] != 2 * strides[i - 1])) {
      fail_manifest(bundle,
                    "key 'decode.feature_strides' must be powers of two, each twice the one "
                    "before, found " +
                        std::to_string(strides[i]) + " at position " + std::to_string(i));
    }
    layout.feature_strides.push_back(static_cast<float>(stride));
  }
  RoiAlignSpec spec;
  spec.aligned = decode_flag(bundle, "roi_aligned");
  spec.first_level = std::countr_zero(static_cast<unsigned>(strides.front()));
  return spec;
}

// Returns the channels of the feature maps.
int check_features(const BundleInfo& bundle, const MaskRcnnLayout& layout) {
  const StageCheck check(bundle, kFeaturesStage);
  check.expect_counts(1, layout.output_names().size());
  expect_image_input(check);
  int channels = 0;
  for (std::size_t i = 0; i < layout.feature_strides.size(); ++i) {
    const TensorSpec& feature = check.output(numbered("feature_", i), 4, kBatchAxis);
    if (i == 0) {
      channels = check.fixed_size(feature, 1, "channels", kMaxImageSide);
    }
    check.expect_size(feature, 1, channels, "channels, as in feature_0");
  }
  for (std::size_t i = 0; i < layout.anchor_maps.size(); ++i) {
    const auto anchors = static_cast<std::int64_t>(layout.anchor_maps[i].cell_anchors.size());
    const TensorSpec& logits = check.output(numbered("rpn_logits_", i), 4, kBatchAxis);
    check.expect_size(logits, 1, anchors, "anchors per cell: decode.anchor_sizes and ratios");
    const TensorSpec& deltas = check.output(numbered("rpn_deltas_", i), 4, kBatchAxis);
    check.expect_size(deltas, 1, 4 * anchors, "4 for each anchor of a cell");
    check.expect_same(deltas, 2, logits);
    check.expect_same(deltas, 3, logits);
  }
  return channels;
}

// The input of a head; writes its bins to `spec`.
void read_roi_input(const StageCheck& check, RoiAlignSpec& spec) {
  const TensorSpec& features = check.input("roi_features", 4, kRoiAxis);
  check.expect_size(features, 1, spec.channels, "channels of the feature maps");
  spec.output_size = check.fixed_size(features, 2, "bins", kMaxRoiBins);
  check.expect_size(features, 3, spec.output_size, "bins, as many as on axis 2");
}

std::vector<std::string> box_head_stages(const BundleInfo& bundle) {
  constexpr const char* kPlain = "box_head";
  constexpr const char* kCascade = "box_head_";
  std::vector<std::string> stages;
  while (has_stage(bundle, numbered(kCascade, stages.size()))) {
    stages.push_back(numbered(kCascade, stages.size()));
  }
  if (stages.empty()) {
    return {find_stage(bundle, kPlain).name};
  }
  if (has_stage(bundle, kPlain)) {
    fail_manifest(bundle,
                  "key 'stages' has both 'box_head' and 'box_head_0', of which a model has one");
  }
  if (stages.size() > kMaxBoxHeads) {
    fail_manifest(bundle, "key 'stages' must have at most " + std::to_string(kMaxBoxHeads) +
                              " box heads, found " + std::to_string(stages.size()));
  }
  return stages;
}

void read_box_heads(const BundleInfo& bundle, const RoiAlignSpec& roi_align,
                    MaskRcnnLayout& layout) {
  const std::vector<std::string> stages = box_head_stages(bundle);
  const std::size_t numbers = 4 * stages.size();
  const std::vector<float> weights =
      decode_numbers(bundle, "delta_weights", {numbers, numbers, 1e-3, 1e6});
  for (std::size_t i = 0; i < stages.size(); ++i) {
    BoxHeadLayout head;
    head.stage = stages[i];
    head.roi_align = roi_align;
    std::copy_n(weights.begin() + static_cast<std::ptrdiff_t>(4 * i), 4, head.weights.begin());
    const StageCheck check(bundle, head.stage);
    check.expect_counts(1, 2);
    read_roi_input(check, head.roi_align);
    const TensorSpec& logits = check.output("logits", 2, kRoiAxis);
    check.expect_size(logits, 1, layout.classes + 1, "one per label, and the background");
    const TensorSpec& deltas = check.output("deltas", 2, kRoiAxis);
    head.deltas = check.fixed_size(deltas, 1, "4, or 4 per label");
    if (head.deltas != 4 && i + 1 == stages.size()) {
      check.expect_size(deltas, 1, 4 * layout.classes, "4 per label");
    } else {
      // Between two heads of a cascade a RoI has one box, whatever its class.
      check.expect_size(deltas, 1, 4, "dx, dy, dw, dh");
    }
    layout.box_heads.push_back(std::move(head));
  }
}

void read_mask_head(const BundleInfo& bundle, const RoiAlignSpec& roi_align,
                    MaskRcnnLayout& layout) {
  MaskHeadLayout& head = layout.mask_head;
  head.stage = "mask_head";
  head.roi_align = roi_align;
  const StageCheck check(bundle, head.stage);
  check.expect_counts(1, 1);
  read_roi_input(check, head.roi_align);
  const TensorSpec& logits = check.output("mask_logits", 4, kRoiAxis);
  check.expect_size(logits, 1, layout.classes, "one map per label");
  head.rows = check.fixed_size(logits, 2, "rows", kMaxImageSide);
  head.columns = check.fixed_size(logits, 3, "columns", kMaxImageSide);
}

}  // namespace

std::vector<std::string> MaskRcnnLayout::output_names() const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < feature_strides.size(); ++i) {
    names.push_back(numbered("feature_", i));
  }
  for (const char* const name : {"rpn_logits_", "rpn_deltas_"}) {
    for (std::size_t i = 0; i < anchor_maps.size(); ++i) {
      names.push_back(numbered(name, i));
    }
  }
  return names;
}

MaskRcnnLayout read_mask_rcnn(const BundleInfo& bundle) {
  expect_resize(bundle, InputSpec::Resize::keep_ratio);
  MaskRcnnLayout layout;
  layout.classes = static_cast<int>(bundle.labels.size());
  read_anchors(bundle, layout);
  read_thresholds(bundle, layout);
  RoiAlignSpec roi_align = read_roi_align(bundle, layout);
  roi_align.channels = check_features(bundle, layout);
  read_box_heads(bundle, roi_align, layout);
  read_mask_head(bundle, roi_align, layout);
  return layout;
}

}  // namespace instseg
