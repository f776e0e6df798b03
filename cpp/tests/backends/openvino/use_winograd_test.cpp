#include "backends/openvino/winograd/use_winograd.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "backends/openvino/graphs.hpp"
#include "backends/openvino/winograd/use_winograd.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::winograd {
namespace {

using namespace graphs;  // what the tests of graphs are made of

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

// As a head on two levels of a pyramid: with the same weights, and once with another activation.
TEST_F(UseWinograd, WeightsThatAreSharedArePackedOnce) {
  const auto image =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{1, 32, 20, 24});
  const auto weights = random_constant({32, 32, 3, 3}, 0.06F);
  const auto head = [&](const Value& value) -> Value {
    return std::make_shared<opset::Convolution>(value, weights, ov::Strides{1, 1},
                                                ov::CoordinateDiff{1, 1}, ov::CoordinateDiff{1, 1},
                                                ov::Strides{1, 1});
  };
  const Value coarse =
      std::make_shared<opset::MaxPool>(image, ov::Strides{2, 2}, ov::Strides{1, 1}, ov::Shape{0, 0},
                                       ov::Shape{0, 0}, ov::Shape{2, 2});
  const auto model = std::make_shared<ov::Model>(
      ov::OutputVector{head(image), head(coarse), relu(head(coarse))}, ov::ParameterVector{image});
  const ov::Tensor values = random_tensor({1, 32, 20, 24});
  const std::vector<ov::Tensor> expected = infer(model, values);
  EXPECT_EQ(use_winograd(model, *kernels()), 3);
  expect_close(infer(model, values), expected);
  std::set<const Convolution*> used;
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    if (const auto op = ov::as_type_ptr<WinogradConvolution>(node)) {
      used.insert(op->convolution().get());
    }
  }
  EXPECT_EQ(used.size(), 2);

  PackedConvolutions packed;
  Chain chain{nullptr, {}};
  int made = 0;
  const auto make = [&] {
    ++made;
    return std::shared_ptr<const Convolution>();
  };
  const float one = 1;
  const float other = 1;
  (void)packed.get(&one, chain, make);
  (void)packed.get(&one, chain, make);
  EXPECT_EQ(made, 1);
  (void)packed.get(&other, chain, make);
  EXPECT_EQ(made, 2);
  chain.activation = Activation::relu;
  (void)packed.get(&one, chain, make);
  EXPECT_EQ(made, 3);
  chain.bias = {1.0F};
  (void)packed.get(&one, chain, make);
  EXPECT_EQ(made, 4);
}

}  // namespace
}  // namespace instseg::winograd
