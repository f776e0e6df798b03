#include "backends/engine_choice.hpp"

#include "bundle/engine_testing.hpp"

namespace instseg {
namespace {

using testing::engine_bytes;
using testing::expect_error;
using testing::replaced;

class EngineChoiceTest : public ::testing::Test {
 protected:
  // An engine in the bundle's list, and its file with a header that agrees, or the one given.
  void add(const std::string& name, const EngineKey& key, const std::string& header = {}) {
    const std::filesystem::path file = folder_.path() / "engines" / name;
    testing::write_file(file, engine_bytes(header.empty() ? header_of(key) : header));
    stage_.engines.push_back({file, key, 1});
  }

  std::string header_of(const EngineKey& key) const {
    std::string header = testing::engine_header(stage_.sha256, key.onnx_sha256);
    header = replaced(header, "\"tensorrt\"", '"' + key.backend + '"');
    header = replaced(header, "10.13.3.9", key.backend_version);
    header = replaced(header, "\"sm\": 75", "\"sm\": " + std::to_string(key.sm));
    return replaced(header, "fp16", key.precision);
  }

  std::string chosen() const { return choose_engine(stage_, target_).path.filename().string(); }

  void expect_none(std::initializer_list<std::string> parts) const {
    expect_error(ErrorCode::incompatible_engine, parts,
                 [&] { (void)choose_engine(stage_, target_); });
  }

  const EngineKey right_{"tensorrt", "10.13.3.9", 75, "fp16", std::string(64, 'b')};
  EngineKey with(auto EngineKey::* member, auto value) const {
    EngineKey key = right_;
    key.*member = value;
    return key;
  }

  testing::TemporaryFolder folder_;
  StageSpec stage_{"model",
                   folder_.path() / "stages" / "model.onnx",
                   std::string(64, 'a'),
                   {{"image", DataType::float32, {{-1, "batch"}, {3, {}}, {64, {}}, {32, {}}}}},
                   {{"boxes", DataType::float32, {{-1, "batch"}, {4, {}}}}}};
  EngineTarget target_{"tensorrt", "10.13.3.9", 75, "fp16", {1, 2, 8}, "my.bundle"};
};

TEST_F(EngineChoiceTest, TakesTheOneThatFits) {
  add("sm.engine", with(&EngineKey::sm, 86));
  add("version.engine", with(&EngineKey::backend_version, "10.14.1.48"));
  add("precision.engine", with(&EngineKey::precision, "fp32"));
  add("backend.engine", with(&EngineKey::backend, "tensorrt_rtx"));
  add("right.engine", right_);
  add("later.engine", right_);
  EXPECT_EQ(chosen(), "right.engine");
  target_.sm = 86;
  EXPECT_EQ(chosen(), "sm.engine");
  target_.precision = "fp32";
  target_.sm = 75;
  EXPECT_EQ(chosen(), "precision.engine");
}

TEST_F(EngineChoiceTest, NoEngineAtAll) {
  expect_none({"no engine for stage 'model'", "sm_75 with TensorRT 10.13.3.9", "fp16 is asked for",
               "`instseg-export my.bundle --backend tensorrt --target sm75 --precision fp16`"});
  target_.bundle.clear();
  target_.backend = "tensorrt_rtx";
  expect_none({"TensorRT-RTX", "`instseg-export BUNDLE --backend tensorrt-rtx --target sm75"});
}

TEST_F(EngineChoiceTest, SaysWhatDiffers) {
  add("a.engine", {"tensorrt_rtx", "1.7.1.116", 86, "fp16", std::string(64, 'b')});
  add("b.engine", with(&EngineKey::precision, "fp32"));
  expect_none({"engines/a.engine was built for sm_86 with TensorRT-RTX 1.7.1.116 in fp16",
               "engines/b.engine was built for sm_75 with TensorRT 10.13.3.9 in fp32",
               "this is sm_75 with TensorRT 10.13.3.9, and fp16 is asked for", "rebuild it with"});
}

TEST_F(EngineChoiceTest, HeaderDecides) {
  const struct {
    std::string header, reason;
  } cases[] = {
      {header_of(with(&EngineKey::sm, 86)), "was built for sm_86"},
      {header_of(with(&EngineKey::backend, "tensorrt_rtx")), "with TensorRT-RTX 10.13.3.9"},
      {header_of(with(&EngineKey::backend_version, "10.13.2.6")), "TensorRT 10.13.2.6"},
      {header_of(with(&EngineKey::precision, "fp32")), "in fp32"},
      {header_of(with(&EngineKey::onnx_sha256, std::string(64, 'c'))), "another ONNX file"},
      {replaced(header_of(right_), std::string(64, 'a'), std::string(64, 'd')),
       "another model: its source has sha256 dddddddddddd…, the bundle's stage aaaaaaaaaaaa…"},
      {replaced(header_of(right_), "\"model\"", "\"mask_head\""), "for the stage 'mask_head'"},
      {replaced(header_of(right_), "\"image\"", "\"images\""),
       "no profile for the stage's input 'image'"},
      {replaced(header_of(right_), "[8, 3, 64, 32]", "[4, 3, 64, 32]"),
       "does not take a batch of 5, the bundle promises 1 to 8"},
      {replaced(header_of(right_), "\"min\": [1, 3, 64, 32]", "\"min\": [2, 3, 64, 32]"),
       "does not take a batch of 1"},
      {replaced(header_of(right_), "[1, 3, 64, 32]", "[1, 3, 64, 31]"), ""},
  };
  for (const auto& [header, reason] : cases) {
    stage_.engines.clear();
    add("a.engine", right_, header);
    if (reason.empty()) {
      EXPECT_EQ(chosen(), "a.engine");
    } else {
      expect_none({"engines/a.engine", reason, "`instseg-export my.bundle"});
    }
  }
  add("b.engine", right_);
  EXPECT_EQ(chosen(), "a.engine");
}

TEST_F(EngineChoiceTest, ProfilesTogetherTakeAllBatches) {
  const std::string two = replaced(
      header_of(right_), R"("opt": [2, 3, 64, 32], "max": [8, 3, 64, 32]}})",
      R"("opt": [1, 3, 64, 32], "max": [1, 3, 64, 32]}},)"
      R"({"image": {"min": [2, 3, 64, 32], "opt": [4, 3, 64, 32], "max": [8, 3, 64, 32]}})");
  add("two.engine", right_, two);
  EXPECT_EQ(chosen(), "two.engine");
  target_.batch.max = 9;
  expect_none({"does not take a batch of 9"});
}

// Axes that are open in the manifest are compared when the stage runs.
TEST_F(EngineChoiceTest, OpenAxesAreNotCompared) {
  stage_.inputs[0].shape[2] = {-1, "height"};
  add("a.engine", right_, replaced(header_of(right_), "[8, 3, 64, 32]", "[8, 3, 640, 32]"));
  EXPECT_EQ(chosen(), "a.engine");
}

TEST_F(EngineChoiceTest, FilesThatAreMissingOrDamaged) {
  add("gone.engine", right_);
  std::filesystem::remove(stage_.engines[0].file);
  expect_none({"engines/gone.engine is in the manifest, but missing"});
  add("right.engine", right_);
  EXPECT_EQ(chosen(), "right.engine");

  stage_.engines.clear();
  add("damaged.engine", right_, "{");
  expect_error(ErrorCode::bad_bundle, {"damaged.engine"}, [&] { (void)chosen(); });
  // One that would not be used anyway is not looked at.
  stage_.engines.clear();
  add("damaged.engine", with(&EngineKey::sm, 86), "{");
  add("right.engine", right_);
  EXPECT_EQ(chosen(), "right.engine");
}

}  // namespace
}  // namespace instseg
