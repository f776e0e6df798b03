#include "backends/openvino/queries/sampled_projection.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "backends/convolution_kit.hpp"

namespace instseg::queries {
namespace {

using test::random_values;
using test::Threads;

struct Case {
  std::int64_t pixels;
  std::int64_t inputs;
  std::int64_t heads;
  std::int64_t outputs;  // of a head
  std::int64_t queries;
  std::int32_t count;
  bool has_bias;
};

struct Tensors {
  explicit Tensors(const Case& c)
      : pixels(random_values(size(c.pixels * c.inputs), 1.0F, 1)),
        projection(random_values(size(c.inputs * c.heads * c.outputs),
                                 1.0F / std::sqrt(static_cast<float>(c.inputs)), 2)),
        bias(random_values(c.has_bias ? size(c.heads * c.outputs) : 0, 1.0F, 3)),
        positions(size(c.queries * c.heads * c.count)),
        weights(random_values(positions.size(), 0.2F, 4)) {
    std::mt19937 generator(5);
    std::uniform_int_distribution<std::int32_t> pixel(0, static_cast<std::int32_t>(c.pixels) - 1);
    for (std::int32_t& position : positions) {
      position = pixel(generator);
    }
  }
  static std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

  std::vector<float> pixels;
  std::vector<float> projection;
  std::vector<float> bias;
  std::vector<std::int32_t> positions;
  std::vector<float> weights;
};

// As the paper has it: every sampled pixel is projected.
std::vector<double> by_definition(const Case& c, const Tensors& t) {
  std::vector<double> results;
  const std::int64_t all = c.heads * c.outputs;
  for (std::int64_t query = 0; query < c.queries; ++query) {
    for (std::int64_t output = 0; output < all; ++output) {
      double result = 0;
      for (std::int32_t j = 0; j < c.count; ++j) {
        const std::int64_t sample = (query * c.heads + output / c.outputs) * c.count + j;
        const std::int64_t pixel = t.positions[Tensors::size(sample)];
        double projected = c.has_bias ? t.bias[Tensors::size(output)] : 0.0;
        for (std::int64_t i = 0; i < c.inputs; ++i) {
          projected += double{t.pixels[Tensors::size(pixel * c.inputs + i)]} *
                       t.projection[Tensors::size(i * all + output)];
        }
        result += t.weights[Tensors::size(sample)] * projected;
      }
      results.push_back(result);
    }
  }
  return results;
}

std::vector<float> run(const Case& c, const Tensors& t, const char* instruction_set, int threads) {
  const winograd::Kernels& products = *winograd::find_kernels(instruction_set);
  const SampledProjection projection(products, *find_kernels(products), t.projection, c.inputs,
                                     c.heads, t.bias);
  EXPECT_EQ(projection.outputs(), c.outputs);
  std::vector<float> results(Tensors::size(c.queries * c.heads * c.outputs), -1.0F);
  projection.run({t.pixels.data(), t.positions.data(), t.weights.data(), c.queries, c.count},
                 results.data(), Threads(threads));
  return results;
}

class SampledProjectionTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (winograd::find_kernels(GetParam()) == nullptr) {
      GTEST_SKIP() << "this processor has no " << GetParam();
    }
  }
};

TEST_P(SampledProjectionTest, IsTheSumOfTheProjectedPixels) {
  for (const Case& c : {Case{40, 256, 8, 32, 33, 12, true}, Case{7, 64, 1, 64, 1, 1, false},
                        Case{300, 320, 3, 96, 15, 5, true}, Case{9, 512, 2, 32, 14, 0, true}}) {
    const Tensors t(c);
    const std::vector<double> expected = by_definition(c, t);
    const std::vector<float> found = run(c, t, GetParam(), 2);
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], 2e-6 * std::sqrt(1.0 + c.count)) << "output " << i;
    }
  }
}

TEST_P(SampledProjectionTest, ThreadsDoNotChangeIt) {
  const Case c{500, 256, 8, 32, 300, 12, true};
  const Tensors t(c);
  EXPECT_EQ(run(c, t, GetParam(), 1), run(c, t, GetParam(), 3));
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, SampledProjectionTest, testing::Values("avx2", "avx512"),
                         [](const auto& set) { return std::string(set.param); });

}  // namespace
}  // namespace instseg::queries
