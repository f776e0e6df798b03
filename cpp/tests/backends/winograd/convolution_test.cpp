#include "backends/openvino/winograd/convolution.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "backends/convolution_kit.hpp"

namespace instseg::winograd {
namespace {

using test::activated;
using test::random_values;
using test::Threads;

struct Case {
  std::int64_t batch;
  std::int64_t inputs;
  std::int64_t outputs;
  std::int32_t height;
  std::int32_t width;
  Activation activation;

  [[nodiscard]] std::size_t pixels() const {
    return static_cast<std::size_t>(batch * height) * static_cast<std::size_t>(width);
  }
  [[nodiscard]] std::size_t place(bool channels_last, std::int64_t channels, std::int64_t image,
                                  std::int64_t channel, std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>(channels_last
                                        ? ((image * height + y) * width + x) * channels + channel
                                        : ((image * channels + channel) * height + y) * width + x);
  }
};

struct Tensors {
  explicit Tensors(const Case& c)
      : weights(random_values(static_cast<std::size_t>(c.outputs * c.inputs * 9),
                              1.0F / (3.0F * std::sqrt(static_cast<float>(c.inputs))), 1)),
        bias(random_values(static_cast<std::size_t>(c.outputs), 1.0F, 2)),
        input(random_values(static_cast<std::size_t>(c.inputs) * c.pixels(), 1.0F, 3)) {}

  std::vector<float> weights;
  std::vector<float> bias;
  std::vector<float> input;
};

// By the definition.
double expected(const Case& c, const Tensors& t, bool channels_last, std::int64_t image,
                std::int64_t output, std::int64_t y, std::int64_t x) {
  double sum = t.bias[static_cast<std::size_t>(output)];
  for (std::int64_t input = 0; input < c.inputs; ++input) {
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t j = 0; j < 3; ++j) {
        const std::int64_t row = y + i - 1;
        const std::int64_t column = x + j - 1;
        if (row >= 0 && row < c.height && column >= 0 && column < c.width) {
          sum += static_cast<double>(
                     t.input[c.place(channels_last, c.inputs, image, input, row, column)]) *
                 static_cast<double>(t.weights[static_cast<std::size_t>(
                     ((output * c.inputs + input) * 3 + i) * 3 + j)]);
        }
      }
    }
  }
  return activated(sum, c.activation);
}

std::vector<float> run(const Kernels& kernels, const Case& c, const Tensors& t, bool input_last,
                       bool output_last, int threads) {
  const Threads pool(threads);
  const Convolution convolution(kernels, t.weights, c.outputs, c.inputs, t.bias, c.activation,
                                pool);
  // A border on both sides shows writes that go too far.
  constexpr std::size_t kBorder = 64;
  constexpr float kUntouched = -12345.0F;
  std::vector<float> memory(static_cast<std::size_t>(c.outputs) * c.pixels() + 2 * kBorder,
                            kUntouched);
  convolution.run(t.input.data(), input_last, memory.data() + kBorder, output_last,
                  {c.batch, c.height, c.width}, pool);
  for (std::size_t i = 0; i < kBorder; ++i) {
    EXPECT_EQ(memory[i], kUntouched);
    EXPECT_EQ(memory[memory.size() - 1 - i], kUntouched);
  }
  return {memory.begin() + kBorder, memory.end() - kBorder};
}

void check(const Kernels& kernels, const Case& c) {
  const Tensors t(c);
  for (const bool input_last : {false, true}) {
    for (const bool output_last : {false, true}) {
      SCOPED_TRACE(std::string(kernels.instruction_set) + ", " + std::to_string(c.inputs) + " to " +
                   std::to_string(c.outputs) + " channels, " + std::to_string(c.batch) + " x " +
                   std::to_string(c.height) + " x " + std::to_string(c.width) +
                   (input_last ? ", input channels last" : "") +
                   (output_last ? ", output channels last" : ""));
      const std::vector<float> found = run(kernels, c, t, input_last, output_last, 2);
      double worst = 0;
      for (std::int64_t image = 0; image < c.batch; ++image) {
        for (std::int64_t o = 0; o < c.outputs; ++o) {
          for (std::int64_t y = 0; y < c.height; ++y) {
            for (std::int64_t x = 0; x < c.width; ++x) {
              const double difference =
                  static_cast<double>(found[c.place(output_last, c.outputs, image, o, y, x)]) -
                  expected(c, t, input_last, image, o, y, x);
              worst = std::max(worst, std::abs(difference));
            }
          }
        }
      }
      // Values are of the order of 1.
      EXPECT_LT(worst, 2e-5);
    }
  }
}

class WinogradConvolution : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (kernels() == nullptr) {
      GTEST_SKIP() << "this processor has no " << GetParam();
    }
  }
  static const Kernels* kernels() { return find_kernels(GetParam()); }
};

TEST_P(WinogradConvolution, IsTheConvolution) {
  check(*kernels(), {1, 32, 48, 12, 16, Activation::none});  // whole tiles
  check(*kernels(), {2, 48, 32, 13, 18, Activation::relu});  // parts of tiles
  check(*kernels(), {1, 16, 80, 21, 63, Activation::silu});  // more than one run in a row
  check(*kernels(), {3, 64, 16, 7, 7, Activation::none});    // like regions of interest
}

TEST_P(WinogradConvolution, TakesImagesThatAreSmallerThanATile) {
  check(*kernels(), {1, 16, 16, 1, 1, Activation::none});
  check(*kernels(), {2, 16, 32, 1, 9, Activation::relu});
  check(*kernels(), {1, 16, 16, 6, 2, Activation::silu});
}

TEST_P(WinogradConvolution, ThreadsThatShareBlocksFindTheSame) {
  // 8 threads share the 25 tiles, 2 take whole blocks of them.
  const Case c{1, 48, 96, 20, 20, Activation::silu};
  const Tensors t(c);
  const std::vector<float> alone = run(*kernels(), c, t, true, true, 1);
  EXPECT_EQ(run(*kernels(), c, t, true, true, 2), alone);
  EXPECT_EQ(run(*kernels(), c, t, true, true, 8), alone);
}

TEST_P(WinogradConvolution, AnImageOfABatchGetsWhatItGetsAlone) {
  const Case batch{5, 32, 32, 14, 14, Activation::relu};
  Case one = batch;
  one.batch = 1;
  Tensors t(batch);
  const std::vector<float> together = run(*kernels(), batch, t, false, false, 2);
  const std::size_t size = 32 * one.pixels();
  t.input.erase(t.input.begin(), t.input.begin() + static_cast<std::ptrdiff_t>(3 * size));
  const std::vector<float> alone = run(*kernels(), one, t, false, false, 2);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(),
                         together.begin() + static_cast<std::ptrdiff_t>(3 * size)));
}

TEST_P(WinogradConvolution, SiluOfLargeValuesIsFinite) {
  const Case c{1, 16, 16, 4, 4, Activation::silu};
  Tensors t(c);
  std::ranges::fill(t.weights, 0.0F);
  t.bias = {-3e38F, -1000.0F, -90.0F, -88.0F, -87.0F, -20.0F, -1.0F,  -1e-6F,
            0.0F,   1e-6F,    1.0F,   20.0F,  87.0F,  90.0F,  1000.F, 3e38F};
  const std::vector<float> found = run(*kernels(), c, t, true, true, 1);
  for (std::size_t o = 0; o < t.bias.size(); ++o) {
    const double y = t.bias[o];
    const double silu = activated(y, Activation::silu);
    // Where exp(-y) is no float32 any more it stays at exp(87).
    EXPECT_NEAR(found[o], silu, std::abs(silu) * 1e-6 + (y < -87 ? std::abs(y) * 2e-38 : 0)) << y;
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, WinogradConvolution, testing::Values("avx2", "avx512"));

TEST(WinogradKernels, AnUnknownInstructionSetHasNone) { EXPECT_EQ(find_kernels("sse9"), nullptr); }

}  // namespace
}  // namespace instseg::winograd
