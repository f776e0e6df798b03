// Manifests of the families mask_rtdetr and solov2.
#include "families/manifest_testing.hpp"

namespace instseg {
namespace {

using testing::bundle_of;
using testing::output;
using testing::Spoiled;
using testing::stage;
using testing::tensor;

using Numbers = std::vector<double>;

BundleInfo mask_rtdetr() {
  BundleInfo bundle = bundle_of("mask_rtdetr", InputSpec::Resize::stretch);
  bundle.stages = {{"model",
                    "model.onnx",
                    "",
                    {tensor("image", {"batch", 3, 64, 96})},
                    {tensor("logits", {"batch", 20, 3}), tensor("boxes", {"batch", 20, 4}),
                     tensor("mask_embeddings", {"batch", 20, 8}),
                     tensor("mask_features", {"batch", 8, 16, 24})}}};
  bundle.decode = {
      {"score_threshold", 0.0}, {"keep_top_k", std::int64_t{100}}, {"mask_threshold", 0.5}};
  return bundle;
}

class BadMaskRtdetr : public ::testing::TestWithParam<Spoiled> {};
TEST_P(BadMaskRtdetr, IsRefused) { testing::expect_refused(mask_rtdetr(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(
    All, BadMaskRtdetr,
    ::testing::Values(
        Spoiled{"KeepRatio",
                [](BundleInfo& b) { b.input.resize = InputSpec::Resize::keep_ratio; },
                {"'input.resize' must be stretch", "'keep_ratio'"}},
        Spoiled{"NoStage",
                [](BundleInfo& b) { b.stages[0].name = "network"; },
                {"no stage 'model'", "mask_rtdetr"}},
        Spoiled{"TooFewOutputs",
                [](BundleInfo& b) { b.stages[0].outputs.pop_back(); },
                {"1 input and 4 outputs", "1 and 3"}},
        Spoiled{"OtherName",
                [](BundleInfo& b) { output(b, "model", "boxes").name = "box"; },
                {"tensor 'boxes' is missing"}},
        Spoiled{
            "ImageSize",
            [](BundleInfo& b) { b.stages[0].inputs[0] = tensor("image", {"batch", 3, 64, 64}); },
            {"'image': axis 3 must be 96 (input.width)", "[batch, 3, 64, 64]"}},
        Spoiled{"Type",
                [](BundleInfo& b) { output(b, "model", "logits").dtype = DataType::float16; },
                {"'logits' must be float32 with 3 axes", "found float16"}},
        Spoiled{"Rank",
                [](BundleInfo& b) {
                  output(b, "model", "mask_features") = tensor("mask_features", {"batch", 8, 16});
                },
                {"'mask_features' must be float32 with 4 axes"}},
        Spoiled{"LeadingAxis",
                [](BundleInfo& b) {
                  output(b, "model", "logits") = tensor("logits", {"images", 20, 3});
                },
                {"first one named 'batch'", "[images, 20, 3]"}},
        Spoiled{"OpenQueries",
                [](BundleInfo& b) {
                  output(b, "model", "logits") = tensor("logits", {"batch", "queries", 3});
                },
                {"'logits': axis 1 must be a number (queries)"}},
        Spoiled{"Classes",
                [](BundleInfo& b) { b.labels.emplace_back("d"); },
                {"'logits': axis 2 must be 4 (one per label)"}},
        Spoiled{"Queries",
                [](BundleInfo& b) {
                  output(b, "model", "mask_embeddings") =
                      tensor("mask_embeddings", {"batch", 21, 8});
                },
                {"'mask_embeddings': axis 1 must be 20"}},
        Spoiled{"Channels",
                [](BundleInfo& b) {
                  output(b, "model", "mask_features") =
                      tensor("mask_features", {"batch", 9, 16, 24});
                },
                {"'mask_features': axis 1 must be 8"}},
        Spoiled{"LargeFeatures",
                [](BundleInfo& b) {
                  output(b, "model", "mask_features") =
                      tensor("mask_features", {"batch", 8, 16, 97});
                },
                {"'mask_features': axis 3", "up to 96"}},
        Spoiled{"MissingKey",
                [](BundleInfo& b) { b.decode.erase("keep_top_k"); },
                {"'decode.keep_top_k' is missing"}},
        Spoiled{"MaskThreshold",
                [](BundleInfo& b) { b.decode["mask_threshold"] = 1.5; },
                {"'decode.mask_threshold' must be a number in [0, 1], found 1.5"}}),
    testing::name_of);

BundleInfo solov2() {
  BundleInfo bundle = bundle_of("solov2", InputSpec::Resize::keep_ratio);
  bundle.stages = {{"model",
                    "model.onnx",
                    "",
                    {tensor("image", {"batch", 3, "height", "width"})},
                    {tensor("scores", {"batch", 25, 3}), tensor("kernels", {"batch", 25, 8}),
                     tensor("mask_features", {"batch", 8, "rows", "columns"})}}};
  bundle.decode = {{"score_threshold", 0.1},         {"mask_threshold", 0.5},
                   {"grid_sizes", Numbers{4, 3}},    {"minimum_areas", Numbers{8, 16}},
                   {"nms_top_k", std::int64_t{500}}, {"nms_sigma", 2.0},
                   {"update_threshold", 0.05},       {"keep_top_k", std::int64_t{100}}};
  return bundle;
}

class BadSolov2 : public ::testing::TestWithParam<Spoiled> {};
TEST_P(BadSolov2, IsRefused) { testing::expect_refused(solov2(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(
    All, BadSolov2,
    ::testing::Values(
        Spoiled{"Stretch",
                [](BundleInfo& b) { b.input.resize = InputSpec::Resize::stretch; },
                {"'input.resize' must be keep_ratio", "solov2", "'stretch'"}},
        Spoiled{"PadStride",
                [](BundleInfo& b) { b.input.pad_stride = 6; },
                {"'input.pad_stride' must be a multiple of 4", "found 6"}},
        Spoiled{"FixedImage",
                [](BundleInfo& b) {
                  b.stages[0].inputs[0] = tensor("image", {"batch", 3, 48, "width"});
                },
                {"'image': axis 2 must be a name", "[batch, 3, 48, width]"}},
        Spoiled{"Cells",
                [](BundleInfo& b) { b.decode["grid_sizes"] = Numbers{4, 4}; },
                {"'scores': axis 1 must be 32 (cells of decode.grid_sizes)", "[batch, 25, 3]"}},
        Spoiled{"Kernels",
                [](BundleInfo& b) {
                  output(b, "model", "kernels") = tensor("kernels", {"batch", 8, 25});
                },
                {"'kernels': axis 1 must be 25"}},
        Spoiled{"Channels",
                [](BundleInfo& b) {
                  output(b, "model", "kernels") = tensor("kernels", {"batch", 25, 9});
                },
                {"'mask_features': axis 1 must be 9 (one per value of a kernel)"}},
        Spoiled{
            "Classes", [](BundleInfo& b) { b.labels.pop_back(); }, {"'scores': axis 2 must be 2"}},
        Spoiled{"Areas",
                [](BundleInfo& b) { b.decode["minimum_areas"] = Numbers{8}; },
                {"'decode.minimum_areas' must be a sequence of 2 integers in [0, ", "found [8]"}},
        Spoiled{"NoList",
                [](BundleInfo& b) { b.decode["grid_sizes"] = std::int64_t{4}; },
                {"'decode.grid_sizes' must be a sequence of 1 to 16 integers", "found 4"}},
        Spoiled{"Fraction",
                [](BundleInfo& b) { b.decode["grid_sizes"] = Numbers{4.5, 3}; },
                {"'decode.grid_sizes'", "found [4.5, 3]"}},
        Spoiled{"EmptyList",
                [](BundleInfo& b) { b.decode["grid_sizes"] = Numbers{}; },
                {"'decode.grid_sizes'", "found []"}},
        Spoiled{"TooManyForTheNms",
                [](BundleInfo& b) { b.decode["nms_top_k"] = std::int64_t{1'000'000}; },
                {"'decode.nms_top_k' must be an integer in [1, 8192]"}},
        Spoiled{"Sigma",
                [](BundleInfo& b) { b.decode["nms_sigma"] = -1.0; },
                {"'decode.nms_sigma'", "found -1"}},
        Spoiled{"MissingKey",
                [](BundleInfo& b) { b.decode.erase("update_threshold"); },
                {"'decode.update_threshold' is missing"}}),
    testing::name_of);

}  // namespace
}  // namespace instseg
