#include "ops/sigmoid.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace instseg {
namespace {

float sigmoid_of(float x) {
  sigmoid({&x, 1});
  return x;
}

TEST(Sigmoid, IsCloseToTheLogisticFunction) {
  std::vector<float> inputs;
  for (int i = -1200000; i <= 1200000; ++i) {
    inputs.push_back(static_cast<float>(i) * 1e-4F);
  }
  std::vector<float> values = inputs;
  sigmoid(values);
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    worst = std::max(worst, std::abs(double{values[i]} - 1 / (1 + std::exp(-double{inputs[i]}))));
  }
  EXPECT_LT(worst, 2e-7);
  EXPECT_EQ(sigmoid_of(0.0F), 0.5F);
}

TEST(Sigmoid, Extremes) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(sigmoid_of(infinity), 1.0F);
  EXPECT_EQ(sigmoid_of(std::numeric_limits<float>::max()), 1.0F);
  EXPECT_LT(sigmoid_of(-infinity), 1e-30F);
  EXPECT_LT(sigmoid_of(std::numeric_limits<float>::lowest()), 1e-30F);
  EXPECT_LT(sigmoid_of(std::numeric_limits<float>::quiet_NaN()), 1e-30F);
}

}  // namespace
}  // namespace instseg
