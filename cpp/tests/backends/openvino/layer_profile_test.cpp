#include "backends/openvino/layer_profile.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset13.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "backends/openvino/winograd/use_winograd.hpp"
#include "backends/plugin_status.hpp"
#include "support/testing.hpp"

namespace instseg::openvino_backend {
namespace {

namespace fs = std::filesystem;
namespace opset = ov::opset13;

// Two convolutions: of 3x3 pixels, which may become ours, and of 5x5.
std::shared_ptr<ov::Model> two_convolutions() {
  const auto image =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{-1, 64, 56, 56});
  ov::Output<ov::Node> value = image;
  for (const std::size_t side : {3U, 5U}) {
    const auto border = static_cast<std::ptrdiff_t>(side / 2);
    const auto weights = opset::Constant::create(ov::element::f32, {64, 64, side, side},
                                                 std::vector<float>(64 * 64 * side * side, 0.01F));
    value = std::make_shared<opset::Convolution>(
        value, weights, ov::Strides{1, 1}, ov::CoordinateDiff{border, border},
        ov::CoordinateDiff{border, border}, ov::Strides{1, 1});
    value.get_node()->set_friendly_name("convolution of " + std::to_string(side));
  }
  return std::make_shared<ov::Model>(ov::OutputVector{value}, ov::ParameterVector{image});
}

ov::CompiledModel compile(const std::shared_ptr<ov::Model>& model) {
  static ov::Core& core = *std::make_unique<ov::Core>().release();
  return core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32),
                            ov::num_streams(ov::streams::Num(1)), ov::enable_profiling(true));
}

void infer(ov::CompiledModel& network, NetworkProfile& profile, int times, std::size_t batch) {
  ov::InferRequest request = network.create_infer_request();
  ov::Tensor image(ov::element::f32, {batch, 64, 56, 56});
  std::fill_n(image.data<float>(), image.get_size(), 1.0F);
  request.set_input_tensor(image);
  for (int i = 0; i < times; ++i) {
    request.infer();
    profile.count(request);
  }
}

const LayerTime& find(const std::vector<LayerTime>& layers, const std::string& name) {
  const auto found = std::ranges::find(layers, name, &LayerTime::name);
  if (found == layers.end()) {
    throw std::runtime_error("no layer '" + name + "'");
  }
  return *found;
}

class LayerProfileTest : public ::testing::Test {
 protected:
  // The first name in the folder that starts so.
  std::string content(const std::string& start) const {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path())) {
      if (entry.path().filename().string().starts_with(start)) {
        return testing::read_file(entry.path());
      }
    }
    return "";
  }
  std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator());
  }
  std::string folder() const { return folder_.path().string(); }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(LayerProfileTest, ThereIsNoneWithoutTheVariable) {
  const testing::EnvironmentVariable variable(kProfileVariable, "");
  EXPECT_EQ(LayerProfile::wanted("stage.onnx", "fp32", two_convolutions()), nullptr);
}

TEST_F(LayerProfileTest, AFolderThatIsNoneIsAnError) {
  const testing::EnvironmentVariable variable(kProfileVariable, folder() + "/absent");
  try {
    (void)LayerProfile::wanted("stage.onnx", "fp32", two_convolutions());
    ADD_FAILURE() << "no error";
  } catch (const StatusError& error) {
    EXPECT_EQ(error.status(), INSTSEG_STATUS_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(error.what()), "the environment variable INSTSEG_OPENVINO_PROFILE is '" +
                                             folder() +
                                             "/absent', expected a folder that can be written to");
  }
}

TEST_F(LayerProfileTest, InferencesOfAllNetworksCountWithoutTheFirstOfEach) {
  const testing::EnvironmentVariable variable(kProfileVariable, folder());
  const std::shared_ptr<ov::Model> model = two_convolutions();
  auto profile = LayerProfile::wanted("folder/stage.onnx", "fp32", model);
  ov::CompiledModel network = compile(model);
  const std::shared_ptr<NetworkProfile> one = profile->add_network();
  const std::shared_ptr<NetworkProfile> other = profile->add_network();
  const std::shared_ptr<NetworkProfile> idle = profile->add_network();
  infer(network, *one, 3, 1);
  infer(network, *one, 1, 8);  // another request of the same network
  ov::CompiledModel second = compile(model);
  infer(second, *other, 2, 1);

  const std::vector<LayerTime> layers = profile->layers();
  const LayerTime& small = find(layers, "convolution of 3");
  const LayerTime& large = find(layers, "convolution of 5");
  EXPECT_EQ(small.calls, 4);
  EXPECT_EQ(small.type, "Convolution");
  EXPECT_FALSE(small.implementation.empty());
  EXPECT_GT(small.microseconds, 0);
  EXPECT_EQ(large.calls, 4);
  EXPECT_TRUE(std::ranges::is_sorted(layers, std::ranges::greater(), &LayerTime::microseconds));

  EXPECT_EQ(files(), 0);
  profile.reset();
  ASSERT_EQ(files(), 1);
  const std::string text = content("stage-");
  for (const char* const part :
       {R"("file": "folder/stage.onnx",)", R"("precision": "fp32",)", R"("calls": 4,)",
        R"("first_calls": 2,)", R"("name": "convolution of 5",)", R"("type": "Convolution",)"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
  }
}

TEST_F(LayerProfileTest, OperationsOfOursHaveTheirOwnType) {
  const winograd::Kernels* const kernels = winograd::find_kernels();
  if (kernels == nullptr) {
    GTEST_SKIP() << "this processor has neither AVX2 nor AVX-512";
  }
  const testing::EnvironmentVariable variable(kProfileVariable, folder());
  const std::shared_ptr<ov::Model> model = two_convolutions();
  ASSERT_EQ(winograd::use_winograd(model, *kernels), 1);
  const auto profile = LayerProfile::wanted("stage.onnx", "fp32", model);
  ov::CompiledModel network = compile(model);
  infer(network, *profile->add_network(), 3, 1);
  const std::vector<LayerTime> layers = profile->layers();
  EXPECT_EQ(find(layers, "convolution of 3").type, "WinogradConvolution");
  EXPECT_EQ(find(layers, "convolution of 5").type, "Convolution");
}

TEST_F(LayerProfileTest, EachSessionHasAFileOfItsOwn) {
  const testing::EnvironmentVariable variable(kProfileVariable, folder());
  const std::shared_ptr<ov::Model> model = two_convolutions();
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(LayerProfile::wanted("stage.onnx", "fp32", model), nullptr);
  }
  EXPECT_EQ(files(), 3);
  EXPECT_NE(content("stage-").find(R"("calls": 0,)"), std::string::npos);
}

}  // namespace
}  // namespace instseg::openvino_backend
