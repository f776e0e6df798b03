#include "backends/precision_choice.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace instseg {
namespace {

class PrecisionChoiceTest : public ::testing::Test {
 protected:
  std::string chosen(const std::string& asked, const std::string& device = "cpu") {
    return chosen_precision(asked, bundle_, Backend(functions_), device);
  }

  void add_engine(const std::string& backend, const std::string& precision) {
    EngineSpec engine;
    engine.key.backend = backend;
    engine.key.precision = precision;
    bundle_.stages.front().engines.push_back(engine);
  }

  BundleInfo bundle_ = [] {
    BundleInfo bundle;
    bundle.stages.resize(1);
    bundle.default_precision = "bf16";
    return bundle;
  }();
  instseg_backend functions_ = [] {
    instseg_backend functions{};
    functions.name = "mine";
    functions.favours_precision = [](const char* device, const char* precision) {
      return std::int32_t{std::strcmp(device, "cpu") == 0 && std::strcmp(precision, "bf16") == 0};
    };
    return functions;
  }();
};

TEST_F(PrecisionChoiceTest, WhatIsAskedForIsTaken) {
  for (const char* precision : {"fp32", "fp16", "bf16", "int8", "int3", ""}) {
    EXPECT_EQ(chosen(precision), precision);
  }
}

TEST_F(PrecisionChoiceTest, TheBundlesDefaultWhereTheDeviceIsFasterInIt) {
  EXPECT_EQ(chosen("auto"), "bf16");
  EXPECT_EQ(chosen("auto", "gpu:0"), "fp32");
  bundle_.default_precision = "fp32";
  EXPECT_EQ(chosen("auto"), "fp32");
}

TEST_F(PrecisionChoiceTest, Float32WhereTheBackendTellsNothing) {
  functions_.favours_precision = nullptr;
  EXPECT_EQ(chosen("auto"), "fp32");
}

TEST_F(PrecisionChoiceTest, WhatThereAreEnginesOf) {
  functions_.features = INSTSEG_FEATURE_NEEDS_ENGINE;
  EXPECT_EQ(chosen("auto"), "fp32");
  add_engine("another", "fp32");
  add_engine("mine", "fp16");
  EXPECT_EQ(chosen("auto"), "fp16");
  add_engine("mine", "fp32");
  EXPECT_EQ(chosen("auto"), "fp32");
}

}  // namespace
}  // namespace instseg
