#include "backends/openvino/winograd/use_winograd.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset13.hpp>
#include <random>
#include <vector>

#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::winograd {
namespace {

namespace opset = ov::opset13;
using Value = ov::Output<ov::Node>;

std::shared_ptr<ov::Node> random_constant(const ov::Shape& shape, float scale) {
  std::mt19937 generator(static_cast<unsigned>(ov::shape_size(shape)));
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(ov::shape_size(shape));
  std::ranges::generate(values, [&] { return normal(generator); });
  return opset::Constant::create(ov::element::f32, shape, values);
}

struct Settings {
  std::size_t kernel = 3;
  std::size_t stride = 1;
  std::size_t dilation = 1;
  std::ptrdiff_t border = 1;
};

Value convolution(const Value& input, std::size_t inputs, std::size_t outputs,
                  const Settings& s = {}) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(inputs * s.kernel * s.kernel));
  return std::make_shared<opset::Convolution>(
      input, random_constant({outputs, inputs, s.kernel, s.kernel}, scale),
      ov::Strides{s.stride, s.stride}, ov::CoordinateDiff{s.border, s.border},
      ov::CoordinateDiff{s.border, s.border}, ov::Strides{s.dilation, s.dilation});
}

Value with_bias(const Value& value, std::size_t outputs) {
  return std::make_shared<opset::Add>(value, random_constant({1, outputs, 1, 1}, 1.0F));
}

Value relu(const Value& value) { return std::make_shared<opset::Relu>(value); }

Value silu(const Value& value) {
  return std::make_shared<opset::Multiply>(value, std::make_shared<opset::Sigmoid>(value));
}

// Convolutions as networks have them: one behind another, side by side and put together, with a sum
// around them. Six of them fit.
std::shared_ptr<ov::Model> blocks(const ov::PartialShape& shape) {
  const auto image = std::make_shared<opset::Parameter>(ov::element::f32, shape);
  const Value stem = relu(with_bias(convolution(image, 3, 32, {3, 2, 1, 1}), 32));
  const Value first = relu(with_bias(convolution(stem, 32, 32), 32));
  const Value second = silu(with_bias(convolution(first, 32, 48), 48));
  const Value third = convolution(second, 48, 48);
  const Value together = std::make_shared<opset::Concat>(ov::OutputVector{first, second, third}, 1);
  const Value narrow = relu(with_bias(convolution(together, 128, 64, {1, 1, 1, 0}), 64));
  const Value fourth = with_bias(convolution(narrow, 64, 64), 64);
  const Value sum = relu(std::make_shared<opset::Add>(narrow, fourth));
  const Value pooled = std::make_shared<opset::MaxPool>(
      sum, ov::Strides{2, 2}, ov::Strides{1, 1}, ov::Shape{0, 0}, ov::Shape{0, 0}, ov::Shape{2, 2});
  // Its result is also an output of the network, before the activation.
  const Value fifth = with_bias(convolution(pooled, 64, 32), 32);
  const Value sixth = silu(with_bias(convolution(relu(fifth), 32, 80), 80));
  return std::make_shared<ov::Model>(ov::OutputVector{fifth, sixth, sum},
                                     ov::ParameterVector{image});
}

std::vector<ov::Tensor> infer(const std::shared_ptr<ov::Model>& model, const ov::Tensor& input) {
  static ov::Core& core = *std::make_unique<ov::Core>().release();
  ov::CompiledModel network =
      core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32));
  ov::InferRequest request = network.create_infer_request();
  request.set_input_tensor(input);
  request.infer();
  std::vector<ov::Tensor> results;
  for (std::size_t i = 0; i < model->outputs().size(); ++i) {
    const ov::Tensor found = request.get_output_tensor(i);
    ov::Tensor kept(found.get_element_type(), found.get_shape());
    found.copy_to(kept);
    results.push_back(kept);
  }
  return results;
}

ov::Tensor random_tensor(const ov::Shape& shape) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  ov::Tensor tensor(ov::element::f32, shape);
  std::generate_n(tensor.data<float>(), tensor.get_size(), [&] { return normal(generator); });
  return tensor;
}

void expect_close(const std::vector<ov::Tensor>& found, const std::vector<ov::Tensor>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].get_shape(), expected[i].get_shape()) << "output " << i;
    float worst = 0;
    float scale = 0;
    for (std::size_t k = 0; k < found[i].get_size(); ++k) {
      const float value = expected[i].data<const float>()[k];
      worst = std::max(worst, std::abs(found[i].data<const float>()[k] - value));
      scale = std::max(scale, std::abs(value));
    }
    EXPECT_LT(worst, 1e-5F * scale) << "output " << i;
  }
}

class UseWinograd : public testing::Test {
 protected:
  void SetUp() override {
    if (kernels() == nullptr) {
      GTEST_SKIP() << "this processor has neither AVX2 nor AVX-512";
    }
  }
  static const Kernels* kernels() { return find_kernels(); }
};

TEST_F(UseWinograd, AGraphOfOneSizeGivesTheSame) {
  const std::shared_ptr<ov::Model> model = blocks({1, 3, 62, 90});
  const ov::Tensor image = random_tensor({1, 3, 62, 90});
  const std::vector<ov::Tensor> expected = infer(model, image);
  EXPECT_EQ(use_winograd(model, *kernels()), 6);
  expect_close(infer(model, image), expected);
}

TEST_F(UseWinograd, AGraphOfAnySizeGivesTheSame) {
  const std::shared_ptr<ov::Model> model = blocks({-1, 3, -1, -1});
  const std::shared_ptr<ov::Model> plain = model->clone();
  EXPECT_EQ(use_winograd(model, *kernels()), 6);
  for (const ov::Shape& shape : {ov::Shape{1, 3, 62, 90}, ov::Shape{2, 3, 40, 33}}) {
    const ov::Tensor image = random_tensor(shape);
    expect_close(infer(model, image), infer(plain, image));
  }
}

// Like a mask head: any number of regions, convolutions one behind another.
TEST_F(UseWinograd, BetweenTwoOfThemChannelsAreLast) {
  const auto regions =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{-1, 32, 14, 14});
  const Value first = relu(with_bias(convolution(regions, 32, 48), 48));
  const Value second = relu(with_bias(convolution(first, 48, 64), 64));
  const Value third = relu(with_bias(convolution(second, 64, 32), 32));
  const Value other = with_bias(convolution(second, 64, 32), 32);
  const auto model = std::make_shared<ov::Model>(ov::OutputVector{third, other, first},
                                                 ov::ParameterVector{regions});
  const std::shared_ptr<ov::Model> plain = model->clone();
  EXPECT_EQ(use_winograd(model, *kernels()), 4);
  int last = 0;
  for (const std::shared_ptr<ov::Node>& node : model->get_ops()) {
    if (const auto op = ov::as_type_ptr<WinogradConvolution>(node)) {
      last += op->layouts().output_channels_last ? 1 : 0;
    }
  }
  EXPECT_EQ(last, 1);  // the second: the first is also an output of the network
  for (const std::size_t count : {1U, 5U}) {
    const ov::Tensor features = random_tensor({count, 32, 14, 14});
    expect_close(infer(model, features), infer(plain, features));
  }
}

// OpenVINO computes what it takes for the same once.
TEST_F(UseWinograd, TwoOfTheSameShapeOnOneImageStayTwo) {
  for (const ov::PartialShape& shape : {ov::PartialShape{1, 32, 14, 14}, {-1, 32, -1, -1}}) {
    const auto image = std::make_shared<opset::Parameter>(ov::element::f32, shape);
    const Value first = convolution(image, 32, 32);
    const Value second = std::make_shared<opset::Convolution>(
        image, random_constant({32, 32, 3, 3}, 1.0F), ov::Strides{1, 1}, ov::CoordinateDiff{1, 1},
        ov::CoordinateDiff{1, 1}, ov::Strides{1, 1});
    const auto model =
        std::make_shared<ov::Model>(ov::OutputVector{first, second}, ov::ParameterVector{image});
    const std::shared_ptr<ov::Model> plain = model->clone();
    EXPECT_EQ(use_winograd(model, *kernels()), 2);
    const ov::Tensor pixels = random_tensor({1, 32, 14, 14});
    expect_close(infer(model, pixels), infer(plain, pixels));
  }
}

// Clones are compiled for networks beside each other.
TEST_F(UseWinograd, AClonedGraphGivesTheSame) {
  const std::shared_ptr<ov::Model> model = blocks({1, 3, 32, 32});
  use_winograd(model, *kernels());
  const ov::Tensor image = random_tensor({1, 3, 32, 32});
  expect_close(infer(model->clone(), image), infer(model, image));
}

// As the front end for ONNX leaves it: the bias is reshaped, by the shape of what it is added to.
TEST_F(UseWinograd, FindsABiasThatIsStillReshaped) {
  const auto image =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{1, 32, 16, 16});
  const auto bias = std::make_shared<opset::Reshape>(
      random_constant({32}, 1.0F),
      opset::Constant::create(ov::element::i64, {4}, std::vector<std::int64_t>{1, 32, 1, 1}),
      false);
  const Value added = std::make_shared<opset::Add>(convolution(image, 32, 32), bias);
  const auto model =
      std::make_shared<ov::Model>(ov::OutputVector{relu(added)}, ov::ParameterVector{image});
  const ov::Tensor pixels = random_tensor({1, 32, 16, 16});
  const std::vector<ov::Tensor> expected = infer(model, pixels);
  EXPECT_EQ(use_winograd(model, *kernels()), 1);
  for (const std::shared_ptr<ov::Node>& node : model->get_ops()) {
    EXPECT_FALSE(ov::is_type<opset::Add>(node) || ov::is_type<opset::Relu>(node))
        << node->get_friendly_name() << " is not part of the convolution";
  }
  expect_close(infer(model, pixels), expected);
}

// Weights that are stored as float16.
TEST_F(UseWinograd, FindsWeightsThatAreConverted) {
  const auto image =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{1, 32, 16, 16});
  const auto weights = std::make_shared<opset::Convert>(
      opset::Constant::create(ov::element::f16, {32, 32, 3, 3},
                              std::vector<float>(32 * 32 * 9, 0.03125F)),
      ov::element::f32);
  const Value result = std::make_shared<opset::Convolution>(
      image, weights, ov::Strides{1, 1}, ov::CoordinateDiff{1, 1}, ov::CoordinateDiff{1, 1},
      ov::Strides{1, 1});
  const auto model =
      std::make_shared<ov::Model>(ov::OutputVector{result}, ov::ParameterVector{image});
  const ov::Tensor pixels = random_tensor({1, 32, 16, 16});
  const std::vector<ov::Tensor> expected = infer(model, pixels);
  EXPECT_EQ(use_winograd(model, *kernels()), 1);
  expect_close(infer(model, pixels), expected);
}

TEST_F(UseWinograd, LeavesOtherConvolutions) {
  const auto image =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{1, 32, 30, 30});
  const auto given =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{32, 32, 3, 3});
  const Value from_input = std::make_shared<opset::Convolution>(
      image, given, ov::Strides{1, 1}, ov::CoordinateDiff{1, 1}, ov::CoordinateDiff{1, 1},
      ov::Strides{1, 1});
  const auto groups = std::make_shared<opset::GroupConvolution>(
      image, random_constant({2, 16, 16, 3, 3}, 0.1F), ov::Strides{1, 1}, ov::CoordinateDiff{1, 1},
      ov::CoordinateDiff{1, 1}, ov::Strides{1, 1});
  const ov::OutputVector results{convolution(image, 32, 32, {3, 2, 1, 1}),
                                 convolution(image, 32, 32, {3, 1, 2, 1}),
                                 convolution(image, 32, 32, {3, 1, 1, 0}),
                                 convolution(image, 32, 32, {5, 1, 1, 1}),
                                 convolution(image, 32, 40),
                                 convolution(image, 32, 16),
                                 from_input,
                                 groups};
  const auto model = std::make_shared<ov::Model>(results, ov::ParameterVector{image, given});
  EXPECT_EQ(use_winograd(model, *kernels()), 0);
}

}  // namespace
}  // namespace instseg::winograd
