#include "backends/openvino/split/products.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "backends/openvino/graphs.hpp"
#include "backends/openvino/split/use_split.hpp"

namespace instseg::split {
namespace {

using namespace graphs;  // what the tests of graphs are made of

constexpr float kTolerance = 1e-4F;

class SplitProducts : public testing::Test {
 protected:
  void SetUp() override {
    if (winograd::find_kernels() == nullptr || find_kernels() == nullptr) {
      GTEST_SKIP() << "this processor has no matrix unit";
    }
  }
};

TEST_F(SplitProducts, Products) {
  const auto by = [](const Value& value, std::size_t inputs, std::size_t outputs, bool transposed) {
    const ov::Shape shape = transposed ? ov::Shape{outputs, inputs} : ov::Shape{inputs, outputs};
    return std::make_shared<opset::MatMul>(value, random_constant(shape, 0.1F), false, transposed);
  };
  for (const ov::PartialShape& shape :
       {ov::PartialShape{5, 64}, {-1, 64}, {2, 5, 64}, {-1, -1, 64}}) {
    const auto rows = std::make_shared<opset::Parameter>(ov::element::f32, shape);
    const Value first = relu(sum(by(rows, 64, 32, false), random_constant({32}, 1.0F)));
    const Value second = sum(random_constant({1, 48}, 1.0F), by(first, 32, 48, true));
    const Value plain = by(second, 48, 16, true);
    const Value left = by(second, 48, 20, true);
    const auto model =
        std::make_shared<ov::Model>(ov::OutputVector{plain, left}, ov::ParameterVector{rows});
    const std::shared_ptr<ov::Model> before = model->clone();
    EXPECT_EQ(use_split(model, *winograd::find_kernels(), *find_kernels()), 3);
    EXPECT_EQ(count(*model, "Add") + count(*model, "Relu"), 0);
    const ov::Tensor values =
        random_tensor(shape.size() == 2 ? ov::Shape{5, 64} : ov::Shape{2, 5, 64});
    expect_close(infer(model, values), infer(before, values), kTolerance);
  }
}

TEST_F(SplitProducts, LargeProductsAlone) {
  const auto rows =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{4200, 64});
  const auto by = [&](std::size_t outputs) {
    return std::make_shared<opset::MatMul>(rows, random_constant({64, outputs}, 0.1F));
  };
  const auto model = std::make_shared<ov::Model>(
      ov::OutputVector{relu(sum(by(48), random_constant({48}, 1.0F))), by(32)},
      ov::ParameterVector{rows});
  const std::shared_ptr<ov::Model> before = model->clone();
  EXPECT_EQ(replace_large_products(model, *find_kernels()), 1);
  EXPECT_EQ(count(*model, "MatMul"), 1);
  const ov::Tensor values = random_tensor({4200, 64});
  expect_close(infer(model, values), infer(before, values), kTolerance);
}

// A product whose matrix is not constant, and one whose bias is of more axes than it has.
TEST_F(SplitProducts, LeavesOtherProducts) {
  const auto rows = std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{-1, 64});
  const auto matrix =
      std::make_shared<opset::Parameter>(ov::element::f32, ov::PartialShape{64, 32});
  const Value given = std::make_shared<opset::MatMul>(rows, matrix);
  const Value few = std::make_shared<opset::MatMul>(
      std::make_shared<opset::MatMul>(rows, random_constant({64, 8}, 0.1F)),
      random_constant({8, 16}, 0.1F));
  const auto model =
      std::make_shared<ov::Model>(ov::OutputVector{given, few}, ov::ParameterVector{rows, matrix});
  EXPECT_EQ(use_split(model, *winograd::find_kernels(), *find_kernels()), 0);
}

}  // namespace
}  // namespace instseg::split
