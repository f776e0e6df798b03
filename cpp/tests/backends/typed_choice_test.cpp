#include "backends/typed_choice.hpp"

#include "core/sha256.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;

class TypedChoiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_file(graph(), "graph");
    testing::write_file(weights(), "weights");
    stage_.typed = {
        {"fp16", folder_.path() / "a.fp16.onnx", std::string(64, 'b'), stage_.sha256},
        {"int8", graph(), sha256_file(graph()), stage_.sha256, weights(), sha256_file(weights())}};
  }

  fs::path graph() const { return folder_.path() / "a.int8.xml"; }
  fs::path weights() const { return folder_.path() / "a.int8.bin"; }

  StageSpec chosen(const std::string& precision) const {
    return stage_in_precision(stage_, precision, Backend(functions_), "my.bundle");
  }

  testing::TemporaryFolder folder_;
  instseg_backend functions_ = [] {
    instseg_backend functions{};
    functions.name = "some";
    functions.version = "1";
    return functions;
  }();
  StageSpec stage_{"model", folder_.path() / "a.onnx", std::string(64, 'a'), {}, {}};
};

TEST_F(TypedChoiceTest, OnlyInt8HasAFileOfItsOwn) {
  EXPECT_EQ(chosen("int8").file, graph());
  EXPECT_EQ(chosen("int8").sha256, stage_.sha256);
  for (const char* precision : {"fp32", "fp16", "bf16", "int3"}) {
    EXPECT_EQ(chosen(precision).file, stage_.file) << precision;
  }
}

TEST_F(TypedChoiceTest, WhatCannotBeUsed) {
  const std::string command = "`instseg-export my.bundle --precision int8 --calibration FOLDER`";
  testing::write_file(weights(), "other weights");
  expect_error(ErrorCode::bad_bundle, {"a.int8.bin", "damaged", command},
               [&] { (void)chosen("int8"); });
  fs::remove(graph());
  expect_error(ErrorCode::bad_bundle, {"a.int8.xml", "missing", command},
               [&] { (void)chosen("int8"); });
  stage_.sha256 = std::string(64, 'f');
  expect_error(ErrorCode::bad_bundle, {"a.int8.xml", "another graph", command},
               [&] { (void)chosen("int8"); });
  stage_.typed.pop_back();
  expect_error(ErrorCode::unsupported, {"no INT8 form of stage 'model'", command},
               [&] { (void)chosen("int8"); });
  EXPECT_EQ(chosen("fp32").file, stage_.file);
}

TEST_F(TypedChoiceTest, EnginesAreOfOtherPrecisions) {
  functions_.features = INSTSEG_FEATURE_NEEDS_ENGINE;
  expect_error(ErrorCode::unsupported, {"INT8 stages run on the CPU", "'some'"},
               [&] { (void)chosen("int8"); });
  EXPECT_EQ(chosen("fp16").file, stage_.file);
}

}  // namespace
}  // namespace instseg
