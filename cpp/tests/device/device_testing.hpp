// What the tests of predictors on the GPU of host_gpu.hpp share.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "device/gpu_backend.hpp"
#include "instseg/predictor.hpp"
#include "support/testing.hpp"

namespace instseg::testing_device {

// Of every kind: three families of one stage, R-CNN, a cascade, one without a feature pyramid.
inline constexpr std::array kBundles = {"ppyoloe_seg", "mask_rtdetr", "solov2",
                                        "mask_rcnn",   "cascade",     "c4"};

inline std::string bundle_name(const ::testing::TestParamInfo<const char*>& test) {
  return test.param;
}

inline std::filesystem::path bundle_of(const std::string& family) {
  return family == "ppyoloe_seg"
             ? std::filesystem::path(testing::environment("INSTSEG_TEST_BUNDLE"))
             : std::filesystem::path(testing::environment("INSTSEG_TEST_FAMILY_BUNDLES")) /
                   (family + ".bundle");
}

inline PredictorOptions on_gpu(int contexts = 1) {
  return {.device = "gpu:0", .backend = kGpuBackend, .threads = 2, .contexts = contexts};
}

inline PredictorOptions on_cpu() { return {.backend = "openvino", .threads = 2}; }

class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    gpu_ = start_gpu(reason);
    if (gpu_ == nullptr) {
      GTEST_SKIP() << reason;
    }
    if (!std::filesystem::exists(bundle_of("ppyoloe_seg") / "manifest.yaml")) {
      GTEST_SKIP() << "run by ctest, which writes the bundles";
    }
    gpu_->reset();
  }
  void TearDown() override {
    if (gpu_ != nullptr) {
      gpu_->gpus = 1;
      gpu_->failing_op = nullptr;
      gpu_->most_bytes = SIZE_MAX;
    }
  }
  [[nodiscard]] HostGpu& gpu() const { return *gpu_; }
  [[nodiscard]] const Counts& counts() const { return gpu_->counts; }
  // What lies in memory of the GPU.
  [[nodiscard]] std::vector<std::uint8_t> read(const void* data, std::size_t bytes) const {
    std::vector<std::uint8_t> copy(bytes);
    gpu().enter();
    std::memcpy(copy.data(), data, bytes);
    gpu().leave();
    return copy;
  }

 private:
  HostGpu* gpu_ = nullptr;
};

}  // namespace instseg::testing_device
