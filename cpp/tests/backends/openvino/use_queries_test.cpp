#include "backends/openvino/queries/use_queries.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "backends/openvino/graphs.hpp"
#include "backends/openvino/queries/query_ops.hpp"

namespace instseg::queries {
namespace {

using namespace graphs;  // what the tests of graphs are made of

constexpr std::size_t kHeads = 8;
constexpr std::size_t kOutputs = 32;  // of a head
constexpr std::size_t kChannels = kHeads * kOutputs;
constexpr std::size_t kPixels = 60;
constexpr std::size_t kQueries = 19;
constexpr std::size_t kSamples = 12;

Value integers(const ov::Shape& shape, const std::vector<std::int32_t>& values) {
  return opset::Constant::create(ov::element::i32, shape, values);
}

Value shaped(const Value& value, const std::vector<std::int64_t>& shape) {
  return std::make_shared<opset::Reshape>(
      value, opset::Constant::create(ov::element::i64, {shape.size()}, shape), true);
}

// What may be different from what the change expects.
struct Sampling {
  std::int32_t factor = kHeads;
  std::int32_t first_head = 0;
  bool has_bias = true;
  bool rows_have_other_users = false;
  std::int64_t row = kOutputs;  // floats of what is gathered
  ov::Dimension pixels = kPixels;
};

// The last part of deformable attention as Paddle2ONNX writes it. The image is the pixels of the
// feature maps; where samples lie follows from it, as it does in a network.
std::shared_ptr<ov::Model> sampling(const Sampling& s = {}) {
  const auto pixels = std::make_shared<opset::Parameter>(ov::element::f32,
                                                         ov::PartialShape{1, s.pixels, kChannels});
  Value projected = std::make_shared<opset::MatMul>(
      pixels, random_constant({kChannels, kHeads * kOutputs}, 0.06F), false, false);
  if (s.has_bias) {
    projected = std::make_shared<opset::Add>(projected, random_constant({kHeads * kOutputs}, 1.0F));
  }
  const Value rows = shaped(projected, {-1, s.row});
  const auto all = static_cast<std::int64_t>(kQueries * kHeads * kSamples);
  const std::vector<std::int64_t> by_head{1, kQueries, kHeads, kSamples};
  // Numbers from 0 to kPixels - 1, of some of the values.
  const Value some = std::make_shared<opset::Slice>(
      shaped(pixels, {-1}), opset::Constant::create(ov::element::i64, {1}, {0}),
      opset::Constant::create(ov::element::i64, {1}, {all}),
      opset::Constant::create(ov::element::i64, {1}, {1}));
  const Value places = std::make_shared<opset::Multiply>(
      std::make_shared<opset::Sigmoid>(some),
      opset::Constant::create(ov::element::f32, {1}, {static_cast<float>(kPixels) - 1e-3F}));
  const Value positions = shaped(
      std::make_shared<opset::Convert>(std::make_shared<opset::Floor>(places), ov::element::i32),
      by_head);
  std::vector<std::int32_t> heads(kHeads);
  std::iota(heads.begin(), heads.end(), s.first_head);
  const Value row_numbers = std::make_shared<opset::Add>(
      std::make_shared<opset::Multiply>(positions, integers({1}, {s.factor})),
      integers({kHeads, 1}, heads));
  const Value gathered = std::make_shared<opset::Gather>(
      rows, shaped(row_numbers, {-1}), opset::Constant::create(ov::element::i64, {}, {0}));
  const Value weights = std::make_shared<opset::Softmax>(shaped(some, by_head), 3);
  const Value result = std::make_shared<opset::MatMul>(
      shaped(weights, {-1, 1, kSamples}), shaped(gathered, {-1, kSamples, s.row}), false, false);
  ov::OutputVector outputs{shaped(result, {1, kQueries, -1})};
  if (s.rows_have_other_users) {
    outputs.push_back(gathered);
  }
  return std::make_shared<ov::Model>(outputs, ov::ParameterVector{pixels});
}

class UseQueries : public testing::Test {
 protected:
  void SetUp() override {
    if (winograd::find_kernels() == nullptr) {
      GTEST_SKIP() << "this processor has neither AVX2 nor AVX-512";
    }
  }
  static int change(const std::shared_ptr<ov::Model>& model) {
    return use_queries(model, *winograd::find_kernels());
  }
  template <class Operation>
  static std::size_t count(const ov::Model& model) {
    const ov::NodeVector operations = model.get_ordered_ops();
    return static_cast<std::size_t>(std::ranges::count_if(
        operations, [](const auto& node) { return ov::is_type<Operation>(node); }));
  }
  // That the change leaves it alone, and that it can be run at all.
  static void expect_left_alone(const std::shared_ptr<ov::Model>& model) {
    EXPECT_EQ(change(model), 0);
    EXPECT_EQ(count<SampledProjectionOp>(*model), 0);
    EXPECT_EQ(count<MaskExtentsOp>(*model), 0);
  }
};

TEST_F(UseQueries, SampledProjectionsGiveTheSame) {
  for (const bool has_bias : {true, false}) {
    const std::shared_ptr<ov::Model> model = sampling({.has_bias = has_bias});
    const ov::Tensor pixels = random_tensor({1, kPixels, kChannels});
    const std::vector<ov::Tensor> expected = infer(model, pixels);
    EXPECT_EQ(change(model), 1);
    EXPECT_EQ(count<SampledProjectionOp>(*model), 1);
    EXPECT_EQ(count<opset::Gather>(*model), 0);
    EXPECT_EQ(count<opset::MatMul>(*model), 0);
    expect_close(infer(model, pixels), expected);
  }
}

TEST_F(UseQueries, OtherSamplingIsLeftAlone) {
  expect_left_alone(sampling({.factor = 4}));
  expect_left_alone(sampling({.first_head = 1}));
  expect_left_alone(sampling({.rows_have_other_users = true}));
  expect_left_alone(sampling({.row = kOutputs / 2}));
  expect_left_alone(sampling({.row = 2 * kOutputs}));
  expect_left_alone(sampling({.pixels = -1}));
}

TEST_F(UseQueries, APositionThatIsNoneIsAnError) {
  const winograd::Kernels& products = *winograd::find_kernels();
  const std::vector<float> projection(64 * 32, 0.1F);
  const auto made = std::make_shared<const SampledProjection>(
      products, *find_kernels(products), projection, 64, 1, std::span<const float>());
  const auto pixels =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{1, 4, 64});
  for (const std::int32_t position : {-1, 4}) {
    const auto op = std::make_shared<SampledProjectionOp>(
        ov::OutputVector{pixels, integers({1, 1, 1, 2}, {0, position}),
                         random_constant({1, 1, 2}, 1.0F)},
        made);
    op->set_friendly_name("samples");
    const auto model = std::make_shared<ov::Model>(op->outputs(), ov::ParameterVector{pixels});
    try {
      (void)infer(model, random_tensor({1, 4, 64}));
      ADD_FAILURE() << "no error at position " << position;
    } catch (const ov::Exception& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("samples"), std::string::npos) << text;
      EXPECT_NE(text.find("but there are 4 pixels"), std::string::npos) << text;
    }
  }
}

enum class Takers { both, rows, three_axes, masks, kept };

constexpr std::size_t kPrototypes = 16;
constexpr std::size_t kWidth = kPrototypes;  // so that what is of columns could be taken for theirs

// What the mask features are.
enum class Features { input, narrow, narrow_with_bias, biased_columns, wide, large_kernel };

Value features_of(const Value& image, Features features) {
  switch (features) {
    case Features::narrow:
      return convolution(relu(convolution(image, kPrototypes, 12)), 12, kPrototypes, {1, 1, 1, 0});
    case Features::narrow_with_bias:
      return with_bias(
          convolution(relu(convolution(image, kPrototypes, 12)), 12, kPrototypes, {1, 1, 1, 0}),
          kPrototypes);
    case Features::biased_columns:
      return std::make_shared<opset::Add>(
          convolution(relu(convolution(image, kPrototypes, 12)), 12, kPrototypes, {1, 1, 1, 0}),
          random_constant({1, 1, 1, kWidth}, 1.0F));
    case Features::wide:
      return convolution(relu(convolution(image, kPrototypes, 20)), 20, kPrototypes, {1, 1, 1, 0});
    case Features::large_kernel:
      return convolution(relu(convolution(image, kPrototypes, 12)), 12, kPrototypes);
    case Features::input:
      break;
  }
  return image;
}

// Masks of queries, and what is done with them.
std::shared_ptr<ov::Model> masks(Takers takers, Features kind = Features::input,
                                 const ov::PartialShape& shape = {1, kPrototypes, 30, kWidth}) {
  const auto features = std::make_shared<opset::Parameter>(ov::element::f32, shape);
  const Value conv = features_of(features, kind);
  const Value embeddings = random_constant({1, 37, kPrototypes}, 1.0F);
  const Value product =
      std::make_shared<opset::MatMul>(embeddings, shaped(conv, {0, 0, -1}), false, false);
  const Value of_queries = shaped(product, {0, 37, 30, kWidth});
  const auto largest = [&](std::int64_t axis, bool keep) -> Value {
    return std::make_shared<opset::ReduceMax>(
        of_queries, opset::Constant::create(ov::element::i64, {1}, {axis}), keep);
  };
  ov::OutputVector outputs{largest(-1, false), conv};
  switch (takers) {
    case Takers::both:
      outputs.push_back(largest(2, false));
      break;
    case Takers::rows:
      break;
    case Takers::three_axes:
      outputs.push_back(largest(1, false));
      break;
    case Takers::masks:
      outputs.push_back(of_queries);
      break;
    case Takers::kept:
      outputs.push_back(largest(3, true));
      break;
  }
  return std::make_shared<ov::Model>(outputs, ov::ParameterVector{features});
}

TEST_F(UseQueries, MaskExtentsAreTheSame) {
  for (const Takers takers : {Takers::both, Takers::rows}) {
    const std::shared_ptr<ov::Model> model = masks(takers);
    const ov::Tensor features = random_tensor({1, kPrototypes, 30, kWidth});
    const std::vector<ov::Tensor> expected = infer(model, features);
    EXPECT_EQ(change(model), 1);
    EXPECT_EQ(count<MaskExtentsOp>(*model), 1);
    EXPECT_EQ(count<opset::ReduceMax>(*model), 0);
    EXPECT_EQ(count<opset::MatMul>(*model), 0);
    expect_close(infer(model, features), expected);
  }
}

// Channels that the masks are made of, in place of 16.
TEST_F(UseQueries, MasksAreMadeOfTheFewestChannels) {
  const auto channels = [](const ov::Model& model) {
    for (const std::shared_ptr<ov::Node>& node : model.get_ordered_ops()) {
      if (ov::is_type<MaskExtentsOp>(node)) {
        return node->get_input_shape(0)[2];
      }
    }
    return std::size_t{0};
  };
  const std::vector<std::pair<Features, std::size_t>> cases{
      {Features::input, 16},          {Features::narrow, 12}, {Features::narrow_with_bias, 12},
      {Features::biased_columns, 16}, {Features::wide, 16},   {Features::large_kernel, 16}};
  for (const auto& [features, expected_channels] : cases) {
    const std::shared_ptr<ov::Model> model = masks(Takers::both, features);
    const ov::Tensor image = random_tensor({1, kPrototypes, 30, kWidth});
    const std::vector<ov::Tensor> expected = infer(model, image);
    EXPECT_EQ(change(model), 1);
    EXPECT_EQ(channels(*model), expected_channels);
    expect_close(infer(model, image), expected);
  }
}

TEST_F(UseQueries, MasksThatAreWantedAreLeftAlone) {
  for (const Takers takers : {Takers::three_axes, Takers::masks, Takers::kept}) {
    expect_left_alone(masks(takers));
  }
  expect_left_alone(masks(Takers::both, Features::input, {-1, kPrototypes, 30, kWidth}));
}

}  // namespace
}  // namespace instseg::queries
