#include "ops/sigmoid.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace instseg {
namespace {

TEST(Sigmoid, IsCloseToTheLogisticFunction) {
  double worst = 0;
  for (int i = -1200000; i <= 1200000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    worst = std::max(worst, std::abs(double{sigmoid(x)} - 1 / (1 + std::exp(-double{x}))));
  }
  EXPECT_LT(worst, 2e-7);
  EXPECT_EQ(sigmoid(0.0F), 0.5F);
}

TEST(Sigmoid, Extremes) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(sigmoid(infinity), 1.0F);
  EXPECT_EQ(sigmoid(std::numeric_limits<float>::max()), 1.0F);
  EXPECT_LT(sigmoid(-infinity), 1e-30F);
  EXPECT_LT(sigmoid(std::numeric_limits<float>::lowest()), 1e-30F);
  EXPECT_EQ(sigmoid(std::numeric_limits<float>::quiet_NaN()), 0.0F);
}

}  // namespace
}  // namespace instseg
