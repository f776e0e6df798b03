#include "backends/openvino/split/use_split.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/openvino/graphs.hpp"
#include "backends/openvino/split/split_op.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::split {
namespace {

using namespace graphs;  // what the tests of graphs are made of

constexpr float kTolerance = 1e-4F;

using Graph = std::function<ov::OutputVector(const Value& image)>;

std::shared_ptr<ov::Model> model_of(const Graph& graph, const ov::PartialShape& shape) {
  const auto image = std::make_shared<opset::Parameter>(ov::element::f32, shape);
  return std::make_shared<ov::Model>(graph(image), ov::ParameterVector{image});
}

Value resized(const Value& coarse, const Value& fine) {
  const auto number = [](std::int64_t value) {
    return opset::Constant::create(ov::element::i64, {1}, {value});
  };
  const auto sizes = [&](const Value& image, std::int64_t first, std::int64_t end) {
    return std::make_shared<opset::Slice>(std::make_shared<opset::ShapeOf>(image), number(first),
                                          number(end), number(1), number(0));
  };
  using Resize = opset::Interpolate;
  Resize::InterpolateAttrs attributes;
  attributes.mode = Resize::InterpolateMode::NEAREST;
  attributes.shape_calculation_mode = Resize::ShapeCalcMode::SIZES;
  attributes.coordinate_transformation_mode = Resize::CoordinateTransformMode::ASYMMETRIC;
  attributes.nearest_mode = Resize::NearestMode::FLOOR;
  return std::make_shared<Resize>(
      coarse,
      std::make_shared<opset::Concat>(
          ov::OutputVector{sizes(coarse, 0, 2), sizes(fine, 2, 3), sizes(fine, 3, 4)}, 0),
      attributes);
}

Value largest(const Value& image, std::size_t kernel, std::size_t border) {
  return std::make_shared<opset::MaxPool>(image, ov::Strides{2, 2}, ov::Strides{1, 1},
                                          ov::Shape{border, border}, ov::Shape{border, border},
                                          ov::Shape{kernel, kernel})
      ->output(0);
}

// Of blocks of two by two, also where only a part of one is inside of the image.
Value mean(const Value& image) {
  return std::make_shared<opset::AvgPool>(image, ov::Strides{2, 2}, ov::Shape{0, 0},
                                          ov::Shape{0, 0}, ov::Shape{2, 2}, true,
                                          ov::op::RoundingType::CEIL);
}

class UseSplit : public testing::Test {
 protected:
  void SetUp() override {
    if (winograd::find_kernels() == nullptr || find_kernels() == nullptr) {
      GTEST_SKIP() << "this processor has no matrix unit";
    }
  }

  // Of images of one size, and in one network of images of any size. Returns the latter.
  static std::shared_ptr<ov::Model> expect_same(const Graph& graph, std::size_t channels,
                                                int replaced) {
    const ov::Shape fixed{1, channels, 12, 20};
    const std::shared_ptr<ov::Model> model = model_of(graph, fixed);
    const ov::Tensor image = random_tensor(fixed);
    const std::vector<ov::Tensor> expected = infer(model, image);
    EXPECT_EQ(use_split(model, *winograd::find_kernels(), *find_kernels()), replaced);
    expect_close(infer(model, image), expected, kTolerance);
    return expect_same_of_any_size(graph, channels, replaced);
  }

  static std::shared_ptr<ov::Model> expect_same_of_any_size(const Graph& graph,
                                                            std::size_t channels, int replaced) {
    const auto known = static_cast<std::int64_t>(channels);
    const std::shared_ptr<ov::Model> model = model_of(graph, {-1, known, -1, -1});
    const std::shared_ptr<ov::Model> plain = model->clone();
    EXPECT_EQ(use_split(model, *winograd::find_kernels(), *find_kernels()), replaced);
    const std::vector<ov::Tensor> images{random_tensor({1, channels, 12, 20}),
                                         random_tensor({2, channels, 17, 9})};
    const auto found = infer_all(model, images);
    const auto expected = infer_all(plain, images);
    for (std::size_t i = 0; i < images.size(); ++i) {
      expect_close(found[i], expected[i], kTolerance);
    }
    return model;
  }
};

TEST_F(UseSplit, Convolutions) {
  const Graph graph = [](const Value& image) {
    const Value wide = relu(with_bias(convolution(image, 3, 32, {7, 2, 1, 3}), 32));
    const Value points = silu(with_bias(convolution(wide, 32, 48, {1, 1, 1, 0}), 48));
    const Value half = with_bias(convolution(points, 48, 16, {3, 2, 1, 1}), 16);
    // One more row before than behind.
    const Value uneven = std::make_shared<opset::Convolution>(
        points, random_constant({16, 48, 2, 3}, 0.1F), ov::Strides{1, 1}, ov::CoordinateDiff{1, 0},
        ov::CoordinateDiff{0, 2}, ov::Strides{1, 1});
    return ov::OutputVector{half, uneven};
  };
  const auto model = expect_same(graph, 3, 4);
  EXPECT_EQ(count(*model, "SplitConvolution"), 4);
  EXPECT_EQ(count(*model, "Add"), 0);
  EXPECT_EQ(count(*model, "Sigmoid"), 0);
  EXPECT_EQ(count(*model, "Transpose"), 3);  // of the image and of the two results
}

TEST_F(UseSplit, ThoseOfThreeByThreeStayWinograd) {
  const Graph graph = [](const Value& image) {
    const Value first = relu(convolution(image, 32, 32));
    return ov::OutputVector{convolution(first, 32, 16, {1, 1, 1, 0}), convolution(first, 32, 16)};
  };
  const auto model = expect_same(graph, 32, 3);
  EXPECT_EQ(count(*model, "WinogradConvolution"), 1);
  EXPECT_EQ(count(*model, "SplitConvolution"), 2);
}

// Where the number of outputs does not fit: in graphs of open sizes outputs are added and cut off.
TEST_F(UseSplit, AnyNumberOfOutputs) {
  const Graph graph = [](const Value& image) {
    const Value features = relu(convolution(image, 32, 32));
    return ov::OutputVector{with_bias(convolution(features, 32, 3, {1, 1, 1, 0}), 3),
                            convolution(features, 32, 20, {1, 1, 1, 0})};
  };
  const auto model = expect_same_of_any_size(graph, 32, 3);
  EXPECT_EQ(count(*model, "Convolution"), 0);
  EXPECT_EQ(count(*model, "Transpose"), 2);
}

TEST_F(UseSplit, LeavesOtherConvolutions) {
  const auto image =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{1, 32, 30, 30});
  const auto given =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{32, 32, 1, 1});
  const auto of_strides = [&](const ov::Strides& strides, const ov::CoordinateDiff& border,
                              const Value& weights) {
    return std::make_shared<opset::Convolution>(image, weights, strides, border, border,
                                                ov::Strides{1, 1});
  };
  const Value weights = random_constant({32, 32, 3, 3}, 0.1F);
  const auto groups = std::make_shared<opset::GroupConvolution>(
      image, random_constant({2, 16, 16, 3, 3}, 0.1F), ov::Strides{1, 1}, ov::CoordinateDiff{1, 1},
      ov::CoordinateDiff{1, 1}, ov::Strides{1, 1});
  const ov::OutputVector results{
      convolution(image, 32, 32, {3, 1, 2, 1}), convolution(image, 32, 40, {1, 1, 1, 0}),
      of_strides({1, 2}, {1, 1}, weights),      of_strides({1, 1}, {-1, -1}, weights),
      of_strides({1, 1}, {0, 0}, given),        groups};
  const auto model = std::make_shared<ov::Model>(results, ov::ParameterVector{image, given});
  EXPECT_EQ(use_split(model, *winograd::find_kernels(), *find_kernels()), 0);
}

// Blocks as residual networks have them, the sum in either order.
TEST_F(UseSplit, SumsAreOfTheConvolution) {
  const Graph graph = [](const Value& image) {
    const Value before = relu(convolution(image, 3, 32, {3, 2, 1, 1}));
    const auto branch = [&](const Value& from) {
      const Value narrow = relu(convolution(from, 32, 16, {1, 1, 1, 0}));
      return with_bias(convolution(relu(convolution(narrow, 16, 16)), 16, 32, {1, 1, 1, 0}), 32);
    };
    const Value first = relu(sum(branch(before), before));
    const Value second = relu(sum(first, branch(first)));
    return ov::OutputVector{sum(branch(second), second)};
  };
  const auto model = expect_same(graph, 3, 10);
  EXPECT_EQ(count(*model, "Add"), 0);
  EXPECT_EQ(count(*model, "Relu"), 0);
  EXPECT_EQ(count(*model, "Transpose"), 2);
}

// The first block of a stage: both branches have convolutions with stride 2, or one a mean.
TEST_F(UseSplit, OfTwoConvolutionsOneTakesTheSum) {
  for (const bool by_mean : {false, true}) {
    for (const bool swapped : {false, true}) {
      const Graph graph = [&](const Value& image) {
        const Value before = relu(convolution(image, 3, 32, {3, 1, 1, 1}));
        const Value pixels = by_mean ? mean(before) : before;
        const Value shortcut =
            with_bias(convolution(pixels, 32, 64, {1, by_mean ? 1U : 2U, 1, 0}), 64);
        const Value narrow = relu(convolution(before, 32, 16, {3, 2, 1, 1}));
        const Value branch = with_bias(convolution(narrow, 16, 64, {1, 1, 1, 0}), 64);
        const Value both = swapped ? sum(shortcut, branch) : sum(branch, shortcut);
        return ov::OutputVector{relu(both)};
      };
      const auto model = expect_same(graph, 3, 4);
      EXPECT_EQ(count(*model, "Add"), 0);
      EXPECT_EQ(count(*model, "Transpose"), 2);
    }
  }
}

TEST_F(UseSplit, SumsOfOtherShapesAreLeft) {
  const Graph broadcast = [](const Value& image) {
    const Value features = convolution(image, 32, 16, {1, 1, 1, 0});
    const Value mean_of_all = std::make_shared<opset::ReduceMean>(
        image, opset::Constant::create(ov::element::i64, {2}, {2, 3}), true);
    return ov::OutputVector{sum(features, convolution(mean_of_all, 32, 16, {1, 1, 1, 0}))};
  };
  EXPECT_EQ(count(*expect_same(broadcast, 32, 2), "Add"), 1);
  // A part of the larger image, which nobody proves to be of the size of the smaller one.
  const Graph unknown = [](const Value& image) {
    const auto numbers = [](const std::vector<std::int64_t>& values) {
      return opset::Constant::create(ov::element::i64, {values.size()}, values);
    };
    const Value half = convolution(image, 32, 16, {3, 1, 1, 0});
    const Value other = relu(convolution(image, 32, 16, {1, 1, 1, 0}));
    const Value part = std::make_shared<opset::Slice>(other, numbers({1, 1}), numbers({-1, -1}),
                                                      numbers({1, 1}), numbers({2, 3}));
    return ov::OutputVector{sum(half, part)};
  };
  EXPECT_EQ(count(*expect_same_of_any_size(unknown, 32, 2), "Add"), 1);
}

// A shape that is found to be another one is an error, and nothing is read beyond it.
TEST_F(UseSplit, ASumOfAnotherShapeIsAnError) {
  const std::vector<float> weights(16 * 16, 1.0F);
  const auto convolution = std::make_shared<const Convolution>(
      *find_kernels(), weights, 16, 16, Geometry{}, std::vector<float>(), Activation::none,
      winograd::OpenVinoThreads());
  const ov::PartialShape any{-1, -1, -1, 16};
  const auto image = std::make_shared<opset::Parameter>(ov::element::f32, any);
  const auto other = std::make_shared<opset::Parameter>(ov::element::f32, any);
  const auto op = std::make_shared<SplitConvolution>(ov::OutputVector{image, other}, convolution);
  ov::TensorVector results{ov::Tensor(ov::element::f32, {1, 4, 4, 16})};
  const ov::TensorVector right{random_tensor({1, 4, 4, 16}), random_tensor({1, 4, 4, 16})};
  EXPECT_TRUE(op->evaluate(results, right));
  const ov::TensorVector wrong{random_tensor({1, 4, 4, 16}), random_tensor({1, 1, 1, 16})};
  EXPECT_THROW(op->evaluate(results, wrong), ov::Exception);
}

// Two of one kind on one image are not taken for the same.
TEST_F(UseSplit, TwoOfTheSameShapeOnOneImageStayTwo) {
  const Graph graph = [](const Value& image) {
    const Value other = std::make_shared<opset::Convolution>(
        image, random_constant({16, 32, 1, 1}, 1.0F), ov::Strides{1, 1}, ov::CoordinateDiff{0, 0},
        ov::CoordinateDiff{0, 0}, ov::Strides{1, 1});
    return ov::OutputVector{convolution(image, 32, 16, {1, 1, 1, 0}), other};
  };
  expect_same(graph, 32, 2);
}

// From the image to the results, channels are last.
TEST_F(UseSplit, WhatLiesBetweenKeepsChannelsLast) {
  const Graph graph = [](const Value& image) {
    const Value stem = relu(convolution(image, 3, 32, {7, 2, 1, 3}));
    const Value pooled = largest(stem, 3, 1);
    const Value deep = relu(convolution(pooled, 32, 32, {3, 2, 1, 1}));
    const Value top = with_bias(convolution(deep, 32, 48, {1, 1, 1, 0}), 48);
    const Value side = with_bias(convolution(pooled, 32, 48, {1, 1, 1, 0}), 48);
    const Value inner = sum(side, resized(top, side));  // as in a feature pyramid
    const Value scaled = std::make_shared<opset::Multiply>(random_constant({1, 48, 1, 1}, 1.0F),
                                                           std::make_shared<opset::Sigmoid>(inner));
    const Value halved = std::make_shared<opset::Multiply>(
        scaled, opset::Constant::create(ov::element::f32, {}, {0.5F}));
    const Value together =
        std::make_shared<opset::Concat>(ov::OutputVector{halved, inner, pooled}, 1);
    const Value head = relu(convolution(together, 128, 32));
    const Value blocks = convolution(mean(together), 128, 16, {1, 1, 1, 0});
    return ov::OutputVector{convolution(head, 32, 16, {1, 1, 1, 0}), blocks,
                            convolution(largest(inner, 1, 0), 48, 16, {1, 1, 1, 0})};
  };
  const auto model = expect_same_of_any_size(graph, 3, 8);
  EXPECT_EQ(count(*model, "Transpose"), 4);  // of the image and of the three results
  EXPECT_EQ(count(*model, "Add"), 0);
  EXPECT_EQ(count(*model, "MaxPool") + count(*model, "AvgPool") + count(*model, "Interpolate"), 0);
  EXPECT_EQ(count(*model, "ShapeOf"), 0);
}

// As in a pyramid of pools of one image, and what OpenVINO could take for the same.
TEST_F(UseSplit, PoolsOfAllKinds) {
  const Graph graph = [](const Value& image) {
    const Value features = relu(convolution(image, 3, 32, {3, 1, 1, 1}));
    ov::OutputVector pools{features, largest(features, 3, 1), mean(features)};
    for (const std::size_t border : {1U, 2U}) {
      const std::size_t kernel = 2 * border + 1;
      pools.push_back(std::make_shared<opset::MaxPool>(
          features, ov::Strides{1, 1}, ov::Strides{1, 1}, ov::Shape{border, border},
          ov::Shape{border, border}, ov::Shape{kernel, kernel}));
      for (const bool inside_only : {false, true}) {
        pools.push_back(std::make_shared<opset::AvgPool>(
            features, ov::Strides{1, 1}, ov::Shape{border, border}, ov::Shape{border, border},
            ov::Shape{kernel, kernel}, inside_only));
      }
    }
    ov::OutputVector results;
    for (const Value& pool : pools) {
      results.push_back(convolution(pool, 32, 16, {1, 1, 1, 0}));
    }
    return results;
  };
  const auto model = expect_same(graph, 3, 10);
  EXPECT_EQ(count(*model, "ChannelsLastPool"), 6);
  EXPECT_EQ(count(*model, "AvgPool"), 2);  // means of the border's zeros as well
}

Value group_norm(const Value& image, std::size_t channels, std::int64_t groups) {
  const auto count = static_cast<std::size_t>(groups);
  const auto grouped = std::make_shared<opset::Reshape>(
      image,
      opset::Constant::create(ov::element::i64, {3}, std::vector<std::int64_t>{0, groups, -1}),
      true);
  const auto normalised =
      std::make_shared<opset::MVN>(grouped, opset::Constant::create(ov::element::i64, {1}, {2}),
                                   true, 1e-5F, ov::op::MVNEpsMode::INSIDE_SQRT);
  const Value of_groups =
      sum(std::make_shared<opset::Multiply>(normalised, random_constant({1, count, 1}, 1.0F)),
          random_constant({1, count, 1}, 1.0F));
  const Value back =
      std::make_shared<opset::Reshape>(of_groups, std::make_shared<opset::ShapeOf>(image), false);
  return sum(std::make_shared<opset::Multiply>(back, random_constant({channels, 1, 1}, 1.0F)),
             random_constant({channels, 1, 1}, 1.0F));
}

TEST_F(UseSplit, GroupNormalisation) {
  const Graph graph = [](const Value& image) {
    const Value first = group_norm(convolution(image, 3, 32, {3, 1, 1, 1}), 32, 4);
    const Value second = relu(group_norm(convolution(relu(first), 32, 48), 48, 48));
    return ov::OutputVector{convolution(second, 48, 16, {1, 1, 1, 0})};
  };
  const auto model = expect_same(graph, 3, 3);
  EXPECT_EQ(count(*model, "ChannelsLastGroupNorm"), 2);
  EXPECT_EQ(count(*model, "Transpose"), 2);
  EXPECT_EQ(count(*model, "Relu") + count(*model, "Reshape") + count(*model, "ShapeOf"), 0);
}

// What is a result and goes into other convolutions by Winograd's method is written channels first.
TEST_F(UseSplit, AResultIsWrittenAsItIsNeeded) {
  const Graph graph = [](const Value& image) {
    const Value features = with_bias(convolution(relu(convolution(image, 32, 32)), 32, 32), 32);
    const Value head = relu(convolution(features, 32, 48));
    return ov::OutputVector{features, convolution(head, 48, 16, {1, 1, 1, 0})};
  };
  const auto model = expect_same_of_any_size(graph, 32, 4);
  EXPECT_EQ(count(*model, "Transpose"), 1);
}

// Where OpenVINO's own operations stand between, and where a shape is asked for.
TEST_F(UseSplit, OtherOperationsFindChannelsFirst) {
  const Graph graph = [](const Value& image) {
    const Value features = relu(convolution(image, 3, 32, {3, 1, 1, 1}));
    const Value groups = std::make_shared<opset::GroupConvolution>(
        features, random_constant({4, 8, 8, 3, 3}, 0.1F), ov::Strides{1, 1},
        ov::CoordinateDiff{1, 1}, ov::CoordinateDiff{1, 1}, ov::Strides{1, 1});
    const Value last = relu(sum(convolution(groups, 32, 32, {1, 1, 1, 0}), features));
    const Value shape = std::make_shared<opset::ShapeOf>(convolution(last, 32, 16, {1, 1, 1, 0}));
    return ov::OutputVector{last, std::make_shared<opset::Convert>(shape, ov::element::f32)};
  };
  const auto model = expect_same_of_any_size(graph, 3, 3);
  EXPECT_EQ(count(*model, "Transpose"), 4);  // of the image, around the groups, of the result
}

// As a mask head ends.
TEST_F(UseSplit, TransposedConvolutions) {
  const auto transposed = [](const Value& image, std::size_t kernel, std::size_t stride) {
    return std::make_shared<opset::ConvolutionBackpropData>(
        image, random_constant({32, 16, kernel, kernel}, 0.1F), ov::Strides{stride, stride},
        ov::CoordinateDiff{0, 0}, ov::CoordinateDiff{0, 0}, ov::Strides{1, 1});
  };
  const Graph graph = [&](const Value& image) {
    const Value features = relu(convolution(image, 3, 32, {3, 1, 1, 1}));
    const Value larger = relu(with_bias(transposed(features, 2, 2), 16));
    return ov::OutputVector{convolution(larger, 16, 32, {1, 1, 1, 0}), transposed(features, 3, 3)};
  };
  const auto model = expect_same(graph, 3, 4);
  EXPECT_EQ(count(*model, "Transpose"), 3);
  EXPECT_EQ(count(*model, "Add") + count(*model, "Relu"), 0);
  // Blocks that overlap are left.
  const Graph other = [&](const Value& image) { return ov::OutputVector{transposed(image, 3, 2)}; };
  expect_same(other, 32, 0);
}

TEST_F(UseSplit, SuitsOpenSizesWithoutGroups) {
  const auto image = [](const ov::PartialShape& shape) {
    return std::make_shared<opset::Parameter>(ov::element::f32, shape);
  };
  const auto suits = [](const Value& result, const std::shared_ptr<opset::Parameter>& input) {
    return suits_split(ov::Model(ov::OutputVector{result}, ov::ParameterVector{input}));
  };
  const auto open = image({1, 32, -1, -1});
  const auto fixed = image({1, 32, 8, 8});
  const Value groups = std::make_shared<opset::GroupConvolution>(
      open, random_constant({2, 16, 16, 1, 1}, 0.1F), ov::Strides{1, 1}, ov::CoordinateDiff{0, 0},
      ov::CoordinateDiff{0, 0}, ov::Strides{1, 1});
  EXPECT_TRUE(suits(relu(open), open));
  EXPECT_FALSE(suits(groups, open));
  EXPECT_FALSE(suits(relu(fixed), fixed));
}

}  // namespace
}  // namespace instseg::split
