#include "instseg/bundle.hpp"

#include <vector>

#include "core/sha256.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;

const std::string kManifest = R"(schema_version: 1
model: tiny
family: ppyoloe_seg
labels: [person, 2]
category_ids: [1, 7]
input:
  height: 64
  width: 32
  color: rgb
  resize: stretch
  interpolation: cubic
  scale: 0.00392156862745098
  mean: [0.0, 0.5, 0.0]
  std: [1.0, 1.0, 2.0]
batch: {min: 1, opt: 2, max: 8}
stages:
  - name: model
    file: stages/model.onnx
    sha256: SHA
    inputs:
      - {name: image, dtype: float32, shape: [batch, 3, 64, 32]}
    outputs:
      - {name: boxes, dtype: float32, shape: [batch, 21, 4]}
      - {name: scores, dtype: float32, shape: [batch, 2, 21]}
      - {name: mask_coefficients, dtype: float32, shape: [batch, 6, 21]}
      - {name: prototypes, dtype: float32, shape: [batch, 6, 16, 8]}
decode:
  score_threshold: 0.01
  nms_iou_threshold: 0.7
  nms_top_k: 1000
  keep_top_k: 300
  mask_threshold: 0.5
threshold: 0.25
provenance: {weights: x.pdparams, tools: {opset: 17}}
)";

class BundleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_file(stage(), "not really a network");
    write(kManifest);
  }

  fs::path stage() const { return folder_.path() / "stages" / "model.onnx"; }
  const fs::path& path() const { return folder_.path(); }

  void write(std::string manifest) const {
    if (const std::size_t at = manifest.find("SHA"); at != std::string::npos) {
      manifest.replace(at, 3, sha256_file(stage()));
    }
    testing::write_file(path() / "manifest.yaml", manifest);
  }

  // The manifest with one place changed.
  void change(const std::string& from, const std::string& to) const {
    std::string manifest = kManifest;
    const std::size_t at = manifest.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    manifest.replace(at, from.size(), to);
    write(manifest);
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(BundleTest, ReadsEverything) {
  const BundleInfo info = load_bundle(path());
  EXPECT_EQ(info.path, path());
  EXPECT_EQ(info.model, "tiny");
  EXPECT_EQ(info.family, "ppyoloe_seg");
  EXPECT_EQ(info.labels, (std::vector<std::string>{"person", "2"}));
  EXPECT_EQ(info.category_ids, (std::vector<int>{1, 7}));
  EXPECT_EQ(info.input.height, 64);
  EXPECT_EQ(info.input.width, 32);
  EXPECT_EQ(info.input.color, InputSpec::Color::rgb);
  EXPECT_EQ(info.input.interpolation, InputSpec::Interpolation::cubic);
  EXPECT_FLOAT_EQ(info.input.scale, 1.0F / 255.0F);
  EXPECT_FLOAT_EQ(info.input.mean[1], 0.5F);
  EXPECT_FLOAT_EQ(info.input.std[2], 2.0F);
  EXPECT_EQ(info.batch.opt, 2);
  EXPECT_EQ(info.batch.max, 8);
  ASSERT_EQ(info.stages.size(), 1U);
  EXPECT_EQ(info.stages[0].file, stage());
  ASSERT_EQ(info.stages[0].outputs.size(), 4U);
  EXPECT_EQ(info.stages[0].outputs[3].name, "prototypes");
  EXPECT_EQ(to_string(info.stages[0].outputs[3].shape), "[batch, 6, 16, 8]");
  EXPECT_FALSE(info.stages[0].outputs[3].shape[0].fixed());
  EXPECT_EQ(std::get<std::int64_t>(info.decode.at("nms_top_k")), 1000);
  EXPECT_FLOAT_EQ(info.threshold, 0.25F);
  EXPECT_EQ(info.default_precision, "fp32");
  EXPECT_NE(info.provenance.find("x.pdparams"), std::string::npos);
  EXPECT_EQ(info.verification, "");
}

TEST_F(BundleTest, UnknownKeysAreIgnored) {
  change("threshold: 0.25", "threshold: 0.25\nsomething_new: [1, 2]");
  EXPECT_NO_THROW((void)load_bundle(path()));
}

const std::string kEngine =
    "{file: engines/a.engine, backend: tensorrt, backend_version: 10.13.3.9, sm: 75, "
    "precision: fp16, onnx_sha256: " +
    std::string(64, 'b') + ", size: 123}";

TEST_F(BundleTest, EnginesNeedNotBeThere) {
  change("    inputs:", "    engines: [" + kEngine + "]\n    inputs:");
  const BundleInfo info = load_bundle(path());
  ASSERT_EQ(info.stages[0].engines.size(), 1U);
  const EngineSpec& engine = info.stages[0].engines[0];
  EXPECT_EQ(engine.file, path() / "engines" / "a.engine");
  EXPECT_EQ(engine.key.backend, "tensorrt");
  EXPECT_EQ(engine.key.backend_version, "10.13.3.9");
  EXPECT_EQ(engine.key.sm, 75);
  EXPECT_EQ(engine.key.precision, "fp16");
  EXPECT_EQ(engine.key.onnx_sha256, std::string(64, 'b'));
  EXPECT_EQ(engine.size, 123U);
}

TEST_F(BundleTest, EnginesThatAreNotAsTheyMustBe) {
  const auto refused = [&](const std::string& from, const std::string& to, const char* reason) {
    std::string engine = kEngine;
    engine.replace(engine.find(from), from.size(), to);
    change("    inputs:", "    engines: [" + engine + "]\n    inputs:");
    expect_error(ErrorCode::bad_bundle, {"'stages[0].engines[0]", reason},
                 [&] { (void)load_bundle(path()); });
  };
  refused("engines/a.engine", "../a.engine", "inside the bundle");
  refused("engines/a.engine", "/a.engine", "inside the bundle");
  refused("sm: 75", "sm: T4", "'T4'");
  refused("fp16", "int8", "fp32 | fp16");
  refused("bbbb", "BBBB", "64 lower-case");
  refused("size: 123", "size: 0", "an integer");
  refused("backend: tensorrt, ", "", "backend' is missing");

  const testing::TemporaryFolder outside;
  testing::write_file(outside.path() / "a.engine", "");
  fs::create_directory_symlink(outside.path(), path() / "engines");
  refused("size: 123", "size: 124", "it leads to ");
}

const std::string kTyped =
    "{precision: int8, file: stages/model.int8.xml, sha256: " + std::string(64, 'c') +
    ", weights_file: stages/model.int8.bin, weights_sha256: " + std::string(64, 'd') +
    ", source_sha256: " + std::string(64, 'e') + "}";

TEST_F(BundleTest, StagesInLowerPrecisionNeedNotBeThere) {
  EXPECT_TRUE(load_bundle(path()).stages[0].typed.empty());
  const std::string half =
      "{precision: fp16, file: stages/model.fp16.onnx, sha256: " + std::string(64, 'a') +
      ", source_sha256: " + std::string(64, 'e') + ", recipe: 1-2, half_nodes: 3}";
  change("    inputs:", "    typed: [" + half + ", " + kTyped + "]\n    inputs:");
  const std::vector<TypedStage> typed = load_bundle(path()).stages[0].typed;
  ASSERT_EQ(typed.size(), 2U);
  EXPECT_EQ(typed[0].precision, "fp16");
  EXPECT_EQ(typed[0].file, path() / "stages" / "model.fp16.onnx");
  EXPECT_TRUE(typed[0].weights_file.empty());
  EXPECT_EQ(typed[1].precision, "int8");
  EXPECT_EQ(typed[1].sha256, std::string(64, 'c'));
  EXPECT_EQ(typed[1].weights_file, path() / "stages" / "model.int8.bin");
  EXPECT_EQ(typed[1].weights_sha256, std::string(64, 'd'));
  EXPECT_EQ(typed[1].source_sha256, std::string(64, 'e'));
}

TEST_F(BundleTest, StagesInLowerPrecisionThatAreNotAsTheyMustBe) {
  const auto refused = [&](const std::string& from, const std::string& to, const char* reason) {
    std::string typed = kTyped;
    typed.replace(typed.find(from), from.size(), to);
    change("    inputs:", "    typed: [" + typed + "]\n    inputs:");
    expect_error(ErrorCode::bad_bundle, {"'stages[0].typed[0]", reason},
                 [&] { (void)load_bundle(path()); });
  };
  refused("stages/model.int8.xml", "../model.int8.xml", "inside the bundle");
  refused("stages/model.int8.bin", "/model.int8.bin", "inside the bundle");
  refused("stages/model.int8.bin", "stages/other.bin", "suffix .bin");
  refused("cccc", "CCCC", "64 lower-case");
  refused("weights_sha256", "something_else", "weights_sha256' is missing");
  refused("source_sha256", "something_else", "source_sha256' is missing");
  change("    inputs:", "    typed: [" + kTyped + ", " + kTyped + "]\n    inputs:");
  expect_error(ErrorCode::bad_bundle, {"'stages[0].typed[1]", "'int8' is listed twice"},
               [&] { (void)load_bundle(path()); });
}

struct Case {
  const char* name;
  std::string from;
  std::string to;
  std::vector<std::string> parts;  // of the message
};

class BadManifest : public BundleTest, public ::testing::WithParamInterface<Case> {};

TEST_P(BadManifest, IsRefused) {
  change(GetParam().from, GetParam().to);
  expect_error(ErrorCode::bad_bundle, {"manifest.yaml"}, [&] { (void)load_bundle(path()); });
  for (const std::string& part : GetParam().parts) {
    expect_error(ErrorCode::bad_bundle, {part}, [&] { (void)load_bundle(path()); });
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, BadManifest,
    ::testing::Values(
        Case{"OtherVersion",
             "schema_version: 1",
             "schema_version: 2",
             {"'schema_version'", "1, the only", "'2'"}},
        Case{"NoVersion", "schema_version: 1\n", "", {"'schema_version' is missing"}},
        Case{"NoModel", "model: tiny\n", "", {"'model' is missing"}},
        Case{"EmptyModel", "model: tiny", "model: ''", {"'model' must be text"}},
        Case{"NullModel", "model: tiny", "model: null", {"'model' is missing"}},
        Case{"LabelsNoSequence",
             "labels: [person, 2]",
             "labels: person",
             {"'labels'", "a sequence", "'person'"}},
        Case{"NoLabels", "labels: [person, 2]", "labels: []", {"'labels'", "sequence of 0"}},
        Case{"LabelNoText",
             "labels: [person, 2]",
             "labels: [person, [a]]",
             {"'labels[1]' must be text"}},
        Case{"FewIds", "category_ids: [1, 7]", "category_ids: [1]", {"'category_ids'", "2 items"}},
        Case{"NegativeId",
             "category_ids: [1, 7]",
             "category_ids: [1, -7]",
             {"'category_ids[1]'", "'-7'"}},
        Case{"HugeInput", "height: 64", "height: 9000", {"'input.height'", "[1, 8192]", "'9000'"}},
        Case{"ZeroInput", "width: 32", "width: 0", {"'input.width'", "[1, 8192]"}},
        Case{"FractionInput",
             "height: 64",
             "height: 64.5",
             {"'input.height' must be an integer", "'64.5'"}},
        Case{"QuotedNumber", "height: 64", "height: '64'", {"'input.height' must be an integer"}},
        Case{"Color", "color: rgb", "color: RGB", {"'input.color' must be rgb | bgr, found 'RGB'"}},
        Case{"Resize", "resize: stretch", "resize: letterbox", {"'input.resize' must be stretch"}},
        Case{"Interpolation", "interpolation: cubic", "interpolation: 2", {"linear | cubic"}},
        Case{"ScaleNaN", "scale: 0.00392156862745098", "scale: .nan", {"'input.scale'", "'.nan'"}},
        Case{"TwoMeans",
             "mean: [0.0, 0.5, 0.0]",
             "mean: [0.0, 0.5]",
             {"'input.mean'", "sequence of 2"}},
        Case{"ZeroStd", "std: [1.0, 1.0, 2.0]", "std: [1.0, 0.0, 2.0]", {"'input.std'", "above 0"}},
        Case{"BatchOrder", "opt: 2, max: 8", "opt: 9, max: 8", {"'batch.max'", "'8'"}},
        Case{"BatchNoMap",
             "batch: {min: 1, opt: 2, max: 8}",
             "batch: 8",
             {"'batch' must be a mapping"}},
        Case{"Climbs",
             "file: stages/model.onnx",
             "file: ../x/model.onnx",
             {"'stages[0].file'", "inside the bundle"}},
        Case{"Absolute",
             "file: stages/model.onnx",
             "file: /etc/passwd",
             {"'stages[0].file'", "'/etc/passwd'"}},
        Case{"ShaShort", "sha256: SHA", "sha256: abc", {"'stages[0].sha256'", "64 lower-case"}},
        Case{"Type",
             "{name: image, dtype: float32",
             "{name: image, dtype: bool",
             {"'stages[0].inputs[0].dtype'"}},
        Case{"Dimension",
             "shape: [batch, 3, 64, 32]",
             "shape: [batch, 3, -1, 32]",
             {"'stages[0].inputs[0].shape[2]'"}},
        Case{"NamedLater",
             "shape: [batch, 3, 64, 32]",
             "shape: [batch, 3, height, 32]",
             {"'image': axis 2 must be 64 (input.height)", "[batch, 3, height, 32]"}},
        Case{"KeepRatio",
             "height: 64\n  width: 32\n  color: rgb\n  resize: stretch",
             "short_side: 32\n  long_side: 64\n  color: rgb\n  resize: keep_ratio",
             {"'input.resize' must be stretch for family ppyoloe_seg", "'keep_ratio'"}},
        Case{"Elements",
             "shape: [batch, 21, 4]",
             "shape: [batch, 1000000, 1000000]",
             {"'stages[0].outputs[0].shape'", "elements"}},
        Case{"TwiceTheSameTensor", "{name: scores,", "{name: boxes,", {"'boxes' is listed twice"}},
        Case{"InputShape",
             "shape: [batch, 3, 64, 32]",
             "shape: [batch, 3, 32, 32]",
             {"'image'", "input.height"}},
        Case{"Anchors",
             "shape: [batch, 2, 21]",
             "shape: [batch, 2, 20]",
             {"'scores'", "axis 2 must be 21"}},
        Case{"Classes",
             "shape: [batch, 2, 21]",
             "shape: [batch, 3, 21]",
             {"'scores'", "axis 1 must be 2"}},
        Case{"Channels",
             "shape: [batch, 6, 16, 8]",
             "shape: [batch, 5, 16, 8]",
             {"'prototypes'", "must be 6"}},
        Case{"LargePrototypes",
             "shape: [batch, 6, 16, 8]",
             "shape: [batch, 6, 65, 8]",
             {"'prototypes'", "axis 2", "up to 64 (rows, not above input.height)"}},
        Case{"OpenAnchors",
             "shape: [batch, 21, 4]",
             "shape: [batch, anchors, 4]",
             {"'boxes'", "axis 1 must be a number (anchors)", "[batch, anchors, 4]"}},
        Case{"FixedBatch",
             "shape: [batch, 21, 4]",
             "shape: [1, 21, 4]",
             {"'boxes'", "first one named"}},
        Case{"OutputMissing",
             "{name: prototypes,",
             "{name: prototype,",
             {"'prototypes' is missing"}},
        Case{"StageMissing", "- name: model", "- name: backbone", {"no stage 'model'"}},
        Case{"DecodeMissing", "  nms_top_k: 1000\n", "", {"'decode.nms_top_k' is missing"}},
        Case{"DecodeRange",
             "nms_iou_threshold: 0.7",
             "nms_iou_threshold: 1.7",
             {"'decode.nms_iou_threshold'", "1.7"}},
        Case{"DecodeType",
             "mask_threshold: 0.5",
             "mask_threshold: half",
             {"'decode.mask_threshold'", "'half'"}},
        Case{"DecodeFraction",
             "keep_top_k: 300",
             "keep_top_k: 3.5",
             {"'decode.keep_top_k' must be an integer"}},
        Case{"DecodeTwice", "keep_top_k: 300", "nms_top_k: 300", {"'nms_top_k' is there twice"}},
        Case{"Threshold", "threshold: 0.25", "threshold: 2", {"'threshold'", "[0, 1]", "'2'"}},
        Case{"Yaml", "threshold: 0.25", "threshold: [0.25", {"not readable as YAML", "line"}}),
    [](const ::testing::TestParamInfo<Case>& test) { return test.param.name; });

TEST_F(BundleTest, EmptyManifest) {
  write("");
  expect_error(ErrorCode::bad_bundle, {"manifest.yaml", "(top level)", "a mapping"},
               [&] { (void)load_bundle(path()); });
}

TEST_F(BundleTest, DeeplyNestedManifest) {
  write(std::string(100'000, '['));
  expect_error(ErrorCode::bad_bundle, {"not readable as YAML"}, [&] { (void)load_bundle(path()); });
}

TEST_F(BundleTest, OversizedManifest) {
  write(kManifest + "# " + std::string(std::size_t{17} << 20U, 'x') + "\n");
  expect_error(ErrorCode::bad_bundle, {"manifest.yaml", "bytes", "at most"},
               [&] { (void)load_bundle(path()); });
}

TEST_F(BundleTest, UnknownFamily) {
  change("family: ppyoloe_seg", "family: yolo9000");
  expect_error(ErrorCode::unsupported, {"'family'", "yolo9000", "ppyoloe_seg"},
               [&] { (void)load_bundle(path()); });
}

TEST_F(BundleTest, StageFileChanged) {
  testing::write_file(stage(), "something else");
  expect_error(ErrorCode::bad_bundle, {"model.onnx", "sha256", "the manifest says"},
               [&] { (void)load_bundle(path()); });
}

TEST_F(BundleTest, StageFileMissing) {
  fs::remove(stage());
  expect_error(ErrorCode::bad_bundle, {"model.onnx", "missing"},
               [&] { (void)load_bundle(path()); });
}

TEST_F(BundleTest, StageFileIsADirectory) {
  fs::remove(stage());
  fs::create_directory(stage());
  expect_error(ErrorCode::bad_bundle, {"model.onnx", "no regular file"},
               [&] { (void)load_bundle(path()); });
}

TEST_F(BundleTest, SymbolicLinkOutOfTheBundle) {
  const testing::TemporaryFolder outside;
  testing::write_file(outside.path() / "model.onnx", "not really a network");
  fs::remove(stage());
  fs::create_symlink(outside.path() / "model.onnx", stage());
  expect_error(ErrorCode::bad_bundle, {"'stages[0].file'", "inside the bundle"},
               [&] { (void)load_bundle(path()); });
}

TEST_F(BundleTest, NoBundle) {
  expect_error(ErrorCode::io, {"cannot open bundle", "nowhere"},
               [&] { (void)load_bundle(path() / "nowhere"); });
  expect_error(ErrorCode::io, {"model.onnx", "no directory"}, [&] { (void)load_bundle(stage()); });
  expect_error(ErrorCode::io, {"manifest.yaml", "No such file"},
               [&] { (void)load_bundle(path() / "stages"); });
}

}  // namespace
}  // namespace instseg
