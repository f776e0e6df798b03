// Manifests of family mask_rcnn.
#include "families/manifest_testing.hpp"
#include "families/mask_rcnn_layout.hpp"

namespace instseg {
namespace {

using testing::bundle_of;
using testing::output;
using testing::Spoiled;
using testing::stage;
using testing::tensor;

using Numbers = std::vector<double>;

StageSpec box_head(const std::string& name, int deltas) {
  return {name,
          name + ".onnx",
          "",
          {tensor("roi_features", {"rois", 6, 7, 7})},
          {tensor("logits", {"rois", 4}), tensor("deltas", {"rois", deltas})}};
}

// Two feature maps, three with anchors, 2 x 3 of them per cell.
BundleInfo mask_rcnn() {
  BundleInfo bundle = bundle_of("mask_rcnn", InputSpec::Resize::keep_ratio);
  StageSpec features{
      "features", "features.onnx", "", {tensor("image", {"batch", 3, "height", "width"})}, {}};
  for (const std::string map : {"0", "1", "2"}) {
    const std::string rows = "rows_" + map;
    const std::string columns = "columns_" + map;
    features.outputs.push_back(
        tensor("rpn_logits_" + map, {"batch", 6, rows.c_str(), columns.c_str()}));
    features.outputs.push_back(
        tensor("rpn_deltas_" + map, {"batch", 24, rows.c_str(), columns.c_str()}));
  }
  features.outputs.push_back(tensor("feature_0", {"batch", 6, "rows_0", "columns_0"}));
  features.outputs.push_back(tensor("feature_1", {"batch", 6, "rows_1", "columns_1"}));
  bundle.stages = {features,
                   box_head("box_head", 12),
                   {"mask_head",
                    "mask_head.onnx",
                    "",
                    {tensor("roi_features", {"rois", 6, 14, 14})},
                    {tensor("mask_logits", {"rois", 3, 28, 20})}}};
  bundle.decode = {{"rpn_pre_nms_top_n", std::int64_t{1000}},
                   {"rpn_post_nms_top_n", std::int64_t{900}},
                   {"rpn_nms_iou_threshold", 0.7},
                   {"rpn_min_size", 0.0},
                   {"score_threshold", 0.05},
                   {"nms_iou_threshold", 0.5},
                   {"keep_top_k", std::int64_t{100}},
                   {"mask_threshold", 0.5},
                   {"anchor_strides", Numbers{4, 8, 16}},
                   {"anchor_sizes", Numbers{16, 24, 32, 48, 64, 96}},
                   {"anchor_aspect_ratios", Numbers{0.5, 1, 2}},
                   {"feature_strides", Numbers{8, 16}},
                   {"delta_weights", Numbers{10, 10, 5, 5}},
                   {"roi_aligned", true}};
  return bundle;
}

BundleInfo cascade() {
  BundleInfo bundle = mask_rcnn();
  stage(bundle, "box_head") = box_head("box_head_0", 4);
  bundle.stages.push_back(box_head("box_head_1", 4));
  bundle.decode["delta_weights"] = Numbers{10, 10, 5, 5, 20, 20, 10, 10};
  return bundle;
}

TEST(MaskRcnnLayout, IsRead) {
  const MaskRcnnLayout layout = read_mask_rcnn(mask_rcnn());
  EXPECT_EQ(layout.classes, 3);
  ASSERT_EQ(layout.anchor_maps.size(), 3U);
  EXPECT_EQ(layout.anchor_maps[1].stride, 8.0F);
  ASSERT_EQ(layout.anchor_maps[1].cell_anchors.size(), 6U);
  EXPECT_EQ(layout.anchor_maps[1].cell_anchors[1], (Box{-16, -16, 16, 16}));
  EXPECT_EQ(layout.proposals.post_nms_top_k, 900);
  ASSERT_EQ(layout.box_heads.size(), 1U);
  EXPECT_EQ(layout.box_heads[0].deltas, 12);
  EXPECT_EQ(layout.box_heads[0].weights, (std::array<float, 4>{10, 10, 5, 5}));
  const RoiAlignSpec& roi_align = layout.mask_head.roi_align;
  EXPECT_EQ(roi_align.channels, 6);
  EXPECT_EQ(roi_align.output_size, 14);
  EXPECT_EQ(roi_align.first_level, 3);  // stride 8
  EXPECT_TRUE(roi_align.aligned);
  EXPECT_EQ(layout.mask_head.rows, 28);
  EXPECT_EQ(layout.mask_head.columns, 20);
  const std::vector<std::string> names = layout.output_names();
  ASSERT_EQ(names.size(), 8U);
  EXPECT_EQ(names[layout.feature(1)], "feature_1");
  EXPECT_EQ(names[layout.rpn_logits(2)], "rpn_logits_2");
  EXPECT_EQ(names[layout.rpn_deltas(0)], "rpn_deltas_0");
}

TEST(MaskRcnnLayout, OfACascade) {
  const MaskRcnnLayout layout = read_mask_rcnn(cascade());
  ASSERT_EQ(layout.box_heads.size(), 2U);
  EXPECT_EQ(layout.box_heads[1].stage, "box_head_1");
  EXPECT_EQ(layout.box_heads[1].weights, (std::array<float, 4>{20, 20, 10, 10}));
}

class BadMaskRcnn : public ::testing::TestWithParam<Spoiled> {};
TEST_P(BadMaskRcnn, IsRefused) { testing::expect_refused(mask_rcnn(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(
    Stages, BadMaskRcnn,
    ::testing::Values(
        Spoiled{"Stretch",
                [](BundleInfo& b) { b.input.resize = InputSpec::Resize::stretch; },
                {"'input.resize' must be keep_ratio", "'stretch'"}},
        Spoiled{"NoMaskHead", [](BundleInfo& b) { b.stages.pop_back(); }, {"no stage 'mask_head'"}},
        Spoiled{"NoBoxHead",
                [](BundleInfo& b) { stage(b, "box_head").name = "box_head_1"; },
                {"no stage 'box_head'"}},
        Spoiled{"BothKindsOfBoxHeads",
                [](BundleInfo& b) { b.stages.push_back(box_head("box_head_0", 4)); },
                {"'box_head' and 'box_head_0'"}},
        Spoiled{"MapMissing",
                [](BundleInfo& b) { b.stages[0].outputs.pop_back(); },
                {"stage 'features' must have 1 input and 8 outputs", "1 and 7"}},
        Spoiled{"FeatureChannels",
                [](BundleInfo& b) {
                  output(b, "features", "feature_1") = tensor("feature_1", {"batch", 7, "a", "b"});
                },
                {"'feature_1': axis 1 must be 6 (channels, as in feature_0)"}},
        Spoiled{"AnchorsPerCell",
                [](BundleInfo& b) { b.decode["anchor_aspect_ratios"] = Numbers{1}; },
                {"'rpn_logits_0': axis 1 must be 2", "[batch, 6, rows_0, columns_0]"}},
        Spoiled{"RpnDeltas",
                [](BundleInfo& b) { output(b, "features", "rpn_deltas_2").shape[1].size = 6; },
                {"'rpn_deltas_2': axis 1 must be 24"}},
        Spoiled{
            "RpnMaps",
            [](BundleInfo& b) { output(b, "features", "rpn_deltas_2").shape[3].name = "other"; },
            {"'rpn_deltas_2': axis 3 must be that of 'rpn_logits_2'",
             "[batch, 6, rows_2, columns_2]", "[batch, 24, rows_2, other]"}},
        Spoiled{"HeadChannels",
                [](BundleInfo& b) { stage(b, "mask_head").inputs[0].shape[1].size = 8; },
                {"stage 'mask_head'", "axis 1 must be 6 (channels of the feature maps)"}},
        Spoiled{"HeadBinsDiffer",
                [](BundleInfo& b) { stage(b, "box_head").inputs[0].shape[3].size = 8; },
                {"stage 'box_head'", "axis 3 must be 7"}},
        Spoiled{"TooManyBins",
                [](BundleInfo& b) { stage(b, "box_head").inputs[0].shape[2].size = 65; },
                {"stage 'box_head'", "up to 64 (bins)"}},
        Spoiled{"HeadBatch",
                [](BundleInfo& b) { stage(b, "box_head").inputs[0].shape[0].name = "batch"; },
                {"first one named 'rois'", "[batch, 6, 7, 7]"}},
        Spoiled{"NoBackground",
                [](BundleInfo& b) { output(b, "box_head", "logits").shape[1].size = 3; },
                {"'logits': axis 1 must be 4 (one per label, and the background)"}},
        Spoiled{"Deltas",
                [](BundleInfo& b) { output(b, "box_head", "deltas").shape[1].size = 16; },
                {"'deltas': axis 1 must be 12 (4 per label)"}},
        Spoiled{"MaskClasses",
                [](BundleInfo& b) { output(b, "mask_head", "mask_logits").shape[1].size = 4; },
                {"'mask_logits': axis 1 must be 3"}},
        Spoiled{"OpenMask",
                [](BundleInfo& b) {
                  output(b, "mask_head", "mask_logits") =
                      tensor("mask_logits", {"rois", 3, "rows", 28});
                },
                {"'mask_logits': axis 2 must be a number"}}),
    testing::name_of);

INSTANTIATE_TEST_SUITE_P(
    Decode, BadMaskRcnn,
    ::testing::Values(
        Spoiled{"AnchorSizes",
                [](BundleInfo& b) { b.decode["anchor_sizes"] = Numbers{16, 32, 64, 128}; },
                {"'decode.anchor_sizes'", "each of the 3 maps", "found 4 sizes"}},
        Spoiled{"AspectRatio",
                [](BundleInfo& b) { b.decode["anchor_aspect_ratios"] = Numbers{0.5, 0, 2}; },
                {"'decode.anchor_aspect_ratios'", "found [0.5, 0, 2]"}},
        Spoiled{"StrideNoPowerOfTwo",
                [](BundleInfo& b) { b.decode["feature_strides"] = Numbers{6, 12}; },
                {"'decode.feature_strides' must be powers of two", "found 6 at position 0"}},
        Spoiled{"StridesWithAGap",
                [](BundleInfo& b) { b.decode["feature_strides"] = Numbers{8, 32}; },
                {"'decode.feature_strides'", "found 32 at position 1"}},
        Spoiled{"DeltaWeights",
                [](BundleInfo& b) { b.decode["delta_weights"] = Numbers{10, 10, 5}; },
                {"'decode.delta_weights' must be a sequence of 4 numbers", "found [10, 10, 5]"}},
        Spoiled{"DeltaWeightZero",
                [](BundleInfo& b) { b.decode["delta_weights"] = Numbers{10, 10, 5, 0}; },
                {"'decode.delta_weights'"}},
        Spoiled{"AlignedIsNoNumber",
                [](BundleInfo& b) { b.decode["roi_aligned"] = std::int64_t{0}; },
                {"'decode.roi_aligned' must be true or false, found 0"}},
        Spoiled{"MaskThresholdZero",
                [](BundleInfo& b) { b.decode["mask_threshold"] = 0.0; },
                {"'decode.mask_threshold'", "found 0"}},
        Spoiled{"NoProposals",
                [](BundleInfo& b) { b.decode["rpn_post_nms_top_n"] = std::int64_t{0}; },
                {"'decode.rpn_post_nms_top_n' must be an integer in [1, "}},
        Spoiled{"MinSizeMissing",
                [](BundleInfo& b) { b.decode.erase("rpn_min_size"); },
                {"'decode.rpn_min_size' is missing"}}),
    testing::name_of);

class BadCascade : public ::testing::TestWithParam<Spoiled> {};
TEST_P(BadCascade, IsRefused) { testing::expect_refused(cascade(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(
    All, BadCascade,
    ::testing::Values(
        Spoiled{"BoxPerClassBetweenHeads",
                [](BundleInfo& b) { output(b, "box_head_0", "deltas").shape[1].size = 12; },
                {"stage 'box_head_0'", "'deltas': axis 1 must be 4 (dx, dy, dw, dh)"}},
        Spoiled{"WeightsOfOneHead",
                [](BundleInfo& b) { b.decode["delta_weights"] = Numbers{10, 10, 5, 5}; },
                {"'decode.delta_weights' must be a sequence of 8 numbers"}},
        Spoiled{"HeadMissing",
                [](BundleInfo& b) { stage(b, "box_head_0").name = "box_head_2"; },
                {"no stage 'box_head'"}}),
    testing::name_of);

}  // namespace
}  // namespace instseg
