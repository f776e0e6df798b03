#include "ops/fused_product.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace instseg {
namespace {

void expect_same(float a, float b, float c) {
  const std::array right{1.0F, b, 3.0F, b};
  std::array sums{0.5F, c, 1.0F, c};
  add_product(a, right.data(), sums.data());
  const float found = sums[1];
  const float expected = std::fma(a, b, c);
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(found)) << a << " * " << b << " + " << c;
  } else {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(found), std::bit_cast<std::uint32_t>(expected))
        << a << " * " << b << " + " << c;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(sums[3]), std::bit_cast<std::uint32_t>(expected));
  }
}

TEST(FusedProduct, RoundsOnce) {
  std::mt19937 random(1);
  const auto any_bits = [&] { return std::bit_cast<float>(static_cast<std::uint32_t>(random())); };
  std::uniform_real_distribution<float> near_one(1.0F, 2.0F);
  for (int i = 0; i < 200000; ++i) {
    expect_same(any_bits(), any_bits(), any_bits());
    const float a = near_one(random), b = near_one(random);
    expect_same(a, b, -a * b);                                // what the product's rounding left
    expect_same(a, b, std::ldexp(near_one(random), i % 60));  // the product is a rest
    expect_same(a, -b, std::ldexp(near_one(random), -(i % 60)));
    expect_same(std::ldexp(a, -75), std::ldexp(b, -74), std::ldexp(near_one(random), -140));
  }
}

// Rounding the sum to double and then to float gives another result: the sum lies just beside the
// middle between two floats, and its double upon it.
TEST(FusedProduct, DecidesBesideTheMiddle) {
  const float tiny = std::ldexp(1.0F, -60);
  const float odd = 1.0F + std::ldexp(1.0F, -23);
  const float middle = std::ldexp(1.0F, -24);
  for (const float sign : {1.0F, -1.0F}) {
    for (const float c : {odd, 1.0F}) {
      // c + 2^-24 (1 +- 2^-36)
      const float factor = 1.0F + std::ldexp(1.0F, -18);
      expect_same(sign * factor * middle, 2.0F - factor, sign * c);
      expect_same(sign * factor * middle, factor, sign * c);
      expect_same(sign * tiny, tiny, sign * c);
      expect_same(sign * tiny, -tiny, sign * c);
    }
  }
  const float a = 1.0F + std::ldexp(1.0F, -12);
  EXPECT_NE(static_cast<float>(double{a * middle} * double{2.0F - a} + 1.0),
            std::fma(a * middle, a, 1.0F));
}

TEST(FusedProduct, NumbersThatAreNone) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::array values{0.0F,
                          -0.0F,
                          1.0F,
                          -2.5F,
                          kInfinity,
                          -kInfinity,
                          std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::max(),
                          std::numeric_limits<float>::denorm_min()};
  for (const float a : values) {
    for (const float b : values) {
      for (const float c : values) {
        expect_same(a, b, c);
      }
    }
  }
}

}  // namespace
}  // namespace instseg
