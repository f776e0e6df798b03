#include "backends/openvino/split/convolution.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "backends/convolution_kit.hpp"
#include "backends/split/portable_kernels.hpp"

namespace instseg::split {
namespace {

using test::activated;
using test::random_values;
using test::Threads;

struct Case {
  std::int64_t inputs;
  std::int64_t outputs;
  Geometry geometry;
  ImageShape shape;
  Activation activation = Activation::none;
  bool residual = false;
};

Geometry square(std::int32_t side, std::int32_t stride) {
  const std::int32_t border = side / 2;
  return {side, side, stride, border, border, border, border};
}

struct Tensors {
  explicit Tensors(const Case& c)
      : weights(random_values(static_cast<std::size_t>(c.outputs * depth(c)),
                              1.0F / std::sqrt(static_cast<float>(depth(c))), 1)),
        bias(random_values(static_cast<std::size_t>(c.outputs), 1.0F, 2)),
        input(random_values(
            static_cast<std::size_t>(c.inputs * c.shape.batch * c.shape.height * c.shape.width),
            1.0F, 3)) {}

  static std::int64_t depth(const Case& c) {
    return c.inputs * c.geometry.kernel_height * c.geometry.kernel_width;
  }

  std::vector<float> weights;
  std::vector<float> bias;
  std::vector<float> input;
  std::vector<float> residual;
};

// By the definition, without bias and what follows.
double sum_of(const Case& c, const Tensors& t, std::int64_t image, std::int64_t y, std::int64_t x,
              std::int64_t output) {
  const Geometry& g = c.geometry;
  double sum = 0;
  for (std::int64_t i = 0; i < g.kernel_height; ++i) {
    for (std::int64_t j = 0; j < g.kernel_width; ++j) {
      const std::int64_t row = y * g.stride - g.top + i;
      const std::int64_t column = x * g.stride - g.left + j;
      if (row < 0 || row >= c.shape.height || column < 0 || column >= c.shape.width) {
        continue;
      }
      for (std::int64_t input = 0; input < c.inputs; ++input) {
        const std::int64_t place =
            ((image * c.shape.height + row) * c.shape.width + column) * c.inputs + input;
        const std::int64_t weight =
            ((output * c.inputs + input) * g.kernel_height + i) * g.kernel_width + j;
        sum += static_cast<double>(t.input[static_cast<std::size_t>(place)]) *
               static_cast<double>(t.weights[static_cast<std::size_t>(weight)]);
      }
    }
  }
  return sum;
}

std::vector<float> run(const Kernels& kernels, const Case& c, const Tensors& t, int threads) {
  const Threads pool(threads);
  const Convolution convolution(kernels, t.weights, c.outputs, c.inputs, c.geometry, t.bias,
                                c.activation, pool);
  const ImageShape to = convolution.output_shape(c.shape);
  const auto size = static_cast<std::size_t>(to.batch * to.height * to.width * c.outputs);
  // A border on both sides shows writes that go too far.
  constexpr std::size_t kBorder = 64;
  constexpr float kUntouched = -12345.0F;
  FloatBuffer memory;
  const std::span<float> all = memory.reserve(size + 2 * kBorder);
  std::ranges::fill(all, kUntouched);
  convolution.run(t.input.data(), c.residual ? t.residual.data() : nullptr, all.data() + kBorder,
                  c.shape, pool);
  for (std::size_t i = 0; i < kBorder; ++i) {
    EXPECT_EQ(all[i], kUntouched);
    EXPECT_EQ(all[all.size() - 1 - i], kUntouched);
  }
  return {all.begin() + kBorder, all.end() - kBorder};
}

void check(const Kernels& kernels, const Case& c) {
  SCOPED_TRACE(std::to_string(c.inputs) + " to " + std::to_string(c.outputs) +
               " channels, kernel " + std::to_string(c.geometry.kernel_height) + " x " +
               std::to_string(c.geometry.kernel_width) + ", " + std::to_string(c.shape.batch) +
               " x " + std::to_string(c.shape.height) + " x " + std::to_string(c.shape.width));
  Tensors t(c);
  const Geometry& g = c.geometry;
  const std::int64_t height = (c.shape.height + g.top + g.bottom - g.kernel_height) / g.stride + 1;
  const std::int64_t width = (c.shape.width + g.left + g.right - g.kernel_width) / g.stride + 1;
  const auto pixels = static_cast<std::size_t>(c.shape.batch * height * width);
  if (c.residual) {
    t.residual = random_values(pixels * static_cast<std::size_t>(c.outputs), 1.0F, 4);
  }
  const std::vector<float> found = run(kernels, c, t, 2);
  ASSERT_EQ(found.size(), pixels * static_cast<std::size_t>(c.outputs));
  double squares = 0;
  double worst = 0;
  // Of many values, some of all rows and outputs.
  const std::size_t step = found.size() > 100000 ? 97 : 1;
  std::size_t count = 0;
  for (std::size_t i = 0; i < found.size(); i += step, ++count) {
    const auto output = static_cast<std::int64_t>(i) % c.outputs;
    const std::int64_t pixel = static_cast<std::int64_t>(i) / c.outputs;
    double sum =
        sum_of(c, t, pixel / width / height, pixel / width % height, pixel % width, output) +
        static_cast<double>(t.bias[static_cast<std::size_t>(output)]);
    sum += c.residual ? static_cast<double>(t.residual[i]) : 0.0;
    const double difference = static_cast<double>(found[i]) - activated(sum, c.activation);
    squares += difference * difference;
    worst = std::max(worst, std::abs(difference));
  }
  // Values are of the order of 1: what float32 itself rounds to is 6e-8 off at most, and sums of
  // thousands of values some times that.
  EXPECT_LT(std::sqrt(squares / static_cast<double>(count)), 1e-6);
  EXPECT_LT(worst, 8e-6);
}

class SplitConvolution : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (kernels() == nullptr) {
      GTEST_SKIP() << "this processor has no matrix unit";
    }
  }
  static const Kernels* kernels() { return GetParam() ? find_kernels() : &test::kPortableKernels; }
};

TEST_P(SplitConvolution, OfOnePixel) {
  check(*kernels(), {64, 96, {}, {1, 12, 16}});
  check(*kernels(), {32, 16, {}, {2, 5, 7}, Activation::relu});
  check(*kernels(), {100, 48, {}, {1, 9, 9}, Activation::silu});  // steps that are not full
  check(*kernels(), {40, 32, {}, {1, 1, 1}});                     // fewer rows than a tile has
  check(*kernels(), {32, 64, square(1, 2), {1, 9, 13}});
}

TEST_P(SplitConvolution, OfLargerKernels) {
  check(*kernels(), {32, 48, square(3, 1), {1, 6, 9}, Activation::relu});
  check(*kernels(), {16, 32, square(3, 2), {2, 13, 10}});
  check(*kernels(), {3, 64, square(7, 2), {1, 20, 31}});
  check(*kernels(), {3, 16, {1, 5, 1, 0, 2, 0, 2}, {1, 4, 6}});
  check(*kernels(), {8, 16, {2, 2, 2, 0, 0, 1, 1}, {1, 7, 7}});  // more zeros at the end
  check(*kernels(), {8, 16, {5, 5, 1, 4, 4, 4, 4}, {1, 2, 2}});  // rows that are zeros alone
}

TEST_P(SplitConvolution, AddsBeforeTheActivation) {
  Case c{64, 80, {}, {1, 10, 11}, Activation::relu};
  c.residual = true;
  check(*kernels(), c);
  c.geometry = square(3, 2);
  c.activation = Activation::silu;
  check(*kernels(), c);
}

TEST_P(SplitConvolution, OfWeightsThatDoNotStayInTheCache) {
  // Blocks of the depth, and parts of the outputs.
  check(*kernels(), {1500, 560, {}, {1, 4, 9}, Activation::relu});
  check(*kernels(), {160, 144, square(3, 1), {1, 5, 5}});
}

TEST_P(SplitConvolution, OfOutputsThatDoNotStayInTheCache) {
  check(*kernels(), {16, 256, {}, {1, 66, 64}, Activation::relu});
}

TEST_P(SplitConvolution, ThreadsThatShareBlocksFindTheSame) {
  for (const Case& c :
       {Case{48, 96, {}, {1, 9, 9}, Activation::relu}, Case{1200, 200 - 8, {}, {1, 3, 4}}}) {
    const Tensors t(c);
    const std::vector<float> alone = run(*kernels(), c, t, 1);
    EXPECT_EQ(run(*kernels(), c, t, 2), alone);
    EXPECT_EQ(run(*kernels(), c, t, 8), alone);
  }
}

TEST_P(SplitConvolution, AnImageOfABatchGetsWhatItGetsAlone) {
  const Case batch{48, 64, square(3, 2), {5, 14, 14}, Activation::relu};
  Case one = batch;
  one.shape.batch = 1;
  Tensors t(batch);
  const std::vector<float> together = run(*kernels(), batch, t, 2);
  const std::size_t size = std::size_t{48} * 14 * 14;
  t.input.erase(t.input.begin(), t.input.begin() + static_cast<std::ptrdiff_t>(3 * size));
  const std::vector<float> alone = run(*kernels(), one, t, 2);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(),
                         together.begin() + static_cast<std::ptrdiff_t>(3 * alone.size())));
}

TEST_P(SplitConvolution, HasFloat32sDigitsAndRange) {
  // Each output is one value times one weight.
  Case c{32, 32, {}, {1, 1, 32}};
  Tensors t(c);
  std::ranges::fill(t.weights, 0.0F);
  std::ranges::fill(t.input, 0.0F);
  std::ranges::fill(t.bias, 0.0F);
  const std::vector<float> values{1.0F,     -1.0F / 3,   16777215.0F, 0.1F,   3e38F,
                                  -1.2e30F, 1.2345e-20F, 0.0F,        -0.75F, 123456.789F};
  const std::vector<float> weights{1.0F, -1.0F, 1.0F / 7, 0.99999994F, 1e-3F};
  for (std::size_t i = 0; i < 32; ++i) {
    t.input[i * 32 + i] = values[i % values.size()];
    t.weights[i * 32 + i] = weights[i % weights.size()];
  }
  const std::vector<float> found = run(*kernels(), c, t, 1);
  for (std::size_t i = 0; i < 32; ++i) {
    const double product = static_cast<double>(values[i % values.size()]) *
                           static_cast<double>(weights[i % weights.size()]);
    EXPECT_NEAR(found[i * 32 + i], product, std::abs(product) * 2e-7) << i;
  }
}

TEST_P(SplitConvolution, WhatIsNoNumberStaysNone) {
  Case c{32, 16, {}, {1, 1, 2}};
  Tensors t(c);
  t.input[3] = std::numeric_limits<float>::quiet_NaN();
  t.input[32 + 5] = std::numeric_limits<float>::infinity();
  const std::vector<float> found = run(*kernels(), c, t, 1);
  for (const float value : found) {
    EXPECT_FALSE(std::isfinite(value));
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, SplitConvolution, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& kernels) {
                           return kernels.param ? "MatrixUnit" : "Portable";
                         });

}  // namespace
}  // namespace instseg::split
