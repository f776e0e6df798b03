#include "ops/mask_decode.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "instseg/image.hpp"
#include "ops/mask_testing.hpp"
#include "ops/plane_testing.hpp"

namespace instseg {
namespace {

using testing_masks::error_of;
using testing_masks::has;
using testing_planes::Plane;
using testing_planes::random_values;
using testing_planes::resize;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  int channels, h, w;  // prototypes
  MaskDecodeSpec spec;
  int image_height, image_width;
};

// The dense version: probabilities of every pixel of the image.
Plane dense_probabilities(const Case& c, const std::vector<float>& prototypes,
                          const std::vector<float>& coefficients, const Box& box) {
  Plane cells;
  for (int i = 0; i < c.h * c.w; ++i) {
    double logit = 0;
    for (int channel = 0; channel < c.channels; ++channel) {
      logit += double{coefficients[static_cast<std::size_t>(channel)]} *
               double{prototypes[static_cast<std::size_t>(channel * c.h * c.w + i)]};
    }
    cells.push_back(1 / (1 + std::exp(-logit)));
  }
  const int height = c.spec.network_height, width = c.spec.network_width;
  Plane network = resize(cells, c.h, c.w, height, width);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto fx = static_cast<float>(x), fy = static_cast<float>(y);
      if (!(box.x1 <= fx && fx < box.x2 && box.y1 <= fy && fy < box.y2)) {
        network[static_cast<std::size_t>(y * width + x)] = 0;
      }
    }
  }
  return resize(network, height, width, c.image_height, c.image_width);
}

void expect_same(const Case& c, const std::vector<float>& prototypes,
                 const std::vector<float>& coefficients, const Box& box, MaskScratch& scratch) {
  const PackedMask mask = decode_prototype_mask(prototypes, c.channels, c.h, c.w, coefficients, box,
                                                c.image_height, c.image_width, c.spec, scratch);
  ASSERT_LE(mask.x() + mask.width(), c.image_width);
  ASSERT_LE(mask.y() + mask.height(), c.image_height);
  const Plane dense = dense_probabilities(c, prototypes, coefficients, box);
  for (int y = 0; y < c.image_height; ++y) {
    for (int x = 0; x < c.image_width; ++x) {
      const double probability = dense[static_cast<std::size_t>(y * c.image_width + x)];
      if (std::abs(probability - double{c.spec.threshold}) > 1e-5) {
        ASSERT_EQ(mask.test(x, y), probability > double{c.spec.threshold})
            << x << ", " << y << " of " << c.image_width << " x " << c.image_height << ", box "
            << box.x1 << " " << box.y1 << " " << box.x2 << " " << box.y2 << ", probability "
            << probability;
      }
    }
  }
}

const std::vector<Case> kCases{
    {32, 16, 16, {64, 64, 0.5F}, 48, 100},  // mixed
    {7, 12, 20, {48, 80, 0.5F}, 133, 171},  // image larger than the network
    {5, 16, 16, {64, 64, 0.3F}, 31, 17},    // image smaller than the prototypes
    {4, 8, 8, {32, 32, 0.5F}, 1, 1},        // one pixel
    {4, 8, 8, {32, 32, 0.5F}, 1, 70},       // one row
    {3, 1, 1, {32, 32, 0.5F}, 40, 40},      // one cell
    {3, 2, 1, {9, 7, 0.2F}, 11, 13},        // odd
    {2, 10, 10, {10, 10, 0.5F}, 10, 10},    // nothing is scaled
    {2, 9, 11, {10, 12, 0.7F}, 25, 5},      // hardly scaled
    {33, 20, 24, {80, 96, 0.5F}, 65, 129},
};

TEST(MaskDecode, AgreesWithTheDenseVersion) {
  std::mt19937 random(7);
  MaskScratch scratch;
  for (const Case& c : kCases) {
    const auto height = static_cast<float>(c.spec.network_height);
    const auto width = static_cast<float>(c.spec.network_width);
    for (int round = 0; round < 60; ++round) {
      const auto prototypes = random_values(random, c.channels * c.h * c.w, 1.5F);
      const auto coefficients = random_values(random, c.channels, 1.0F);
      const auto pick = [&](float size) {
        return std::uniform_real_distribution<float>(-0.3F * size, 1.3F * size)(random);
      };
      Box box{pick(width), pick(height), pick(width), pick(height)};
      if (round % 8 != 0) {  // most are not inverted
        box = {std::min(box.x1, box.x2), std::min(box.y1, box.y2), std::max(box.x1, box.x2),
               std::max(box.y1, box.y2)};
      }
      if (round % 3 == 0) {  // whole numbers lie on the cut
        box = {std::round(box.x1), std::round(box.y1), std::round(box.x2), std::round(box.y2)};
      }
      expect_same(c, prototypes, coefficients, box, scratch);
    }
  }
}

TEST(MaskDecode, UnusualBoxes) {
  std::mt19937 random(8);
  MaskScratch scratch;
  for (const Case& c : kCases) {
    const auto prototypes = random_values(random, c.channels * c.h * c.w, 1.0F);
    const auto coefficients = random_values(random, c.channels, 1.0F);
    const auto height = static_cast<float>(c.spec.network_height);
    const auto width = static_cast<float>(c.spec.network_width);
    for (const Box& box : std::vector<Box>{{0, 0, width, height},
                                           {-1e30F, -1e30F, 1e30F, 1e30F},
                                           {-kInfinity, -kInfinity, kInfinity, kInfinity},
                                           {-5, -5, 3, 3},
                                           {width - 3, height - 3, width + 9, height + 9},
                                           {2.2F, 2.2F, 2.8F, 2.8F},
                                           {2, 2, 3, 3},
                                           {0, 0, 0.5F, 0.5F},
                                           {width - 1, 0, width, height},
                                           {-9, -9, -1, -1},
                                           {width, 0, width + 5, height},
                                           {5, 5, 2, 2},
                                           {4, 4, 4, 4},
                                           {kNaN, 0, width, height},
                                           {0, 0, width, kNaN},
                                           {kInfinity, 0, kInfinity, height}}) {
      expect_same(c, prototypes, coefficients, box, scratch);
    }
  }
}

TEST(MaskDecode, TheCropIsWhatTheBoxReaches) {
  // Everything is set inside the box; the image is twice the network input.
  const std::vector<float> prototypes(64, 100.0F), coefficients(1, 1.0F);
  MaskScratch scratch;
  const MaskDecodeSpec spec{32, 32, 0.0F};
  const auto decode = [&](const Box& box) {
    return decode_prototype_mask(prototypes, 1, 8, 8, coefficients, box, 64, 64, spec, scratch);
  };
  const PackedMask mask = decode({10, 12, 20, 14});
  // Network pixel 10 is sampled by the image pixels from 19 (next to 20 and 21) on.
  EXPECT_EQ(mask.bounds(), (Box{19, 23, 41, 29}));
  EXPECT_EQ(mask.area(), mask.width() * mask.height());
  for (const Box& box : {Box{40, 0, 50, 9}, Box{5, 5, 1, 1}, Box{kNaN, 0, 9, 9}}) {
    EXPECT_EQ(decode(box), PackedMask());
  }
}

TEST(MaskDecode, CellsThatAreNotNumbersAreUnset) {
  std::vector<float> prototypes(64, 100.0F);
  prototypes[9] = kNaN;
  prototypes[10] = kInfinity;
  prototypes[11] = -kInfinity;
  MaskScratch scratch;
  const std::vector<float> coefficients(1, 1.0F);
  const PackedMask mask = decode_prototype_mask(prototypes, 1, 8, 8, coefficients, {0, 0, 8, 8}, 8,
                                                8, {8, 8, 0.5F}, scratch);
  EXPECT_EQ(mask.area(), 62);
  EXPECT_FALSE(mask.test(1, 1));
  EXPECT_TRUE(mask.test(2, 1));
  EXPECT_FALSE(mask.test(3, 1));
}

TEST(MaskDecode, ChecksItsArguments) {
  const std::vector<float> prototypes(2 * 4 * 5), coefficients(2);
  struct Arguments {
    int channels = 2, h = 4, w = 5;
    std::size_t coefficients = 2;
    int image_height = 30, image_width = 40;
    MaskDecodeSpec spec{16, 20, 0.5F};
  };
  const auto call = [&](auto change) {
    Arguments a;
    change(a);
    MaskScratch scratch;
    return error_of([&] {
      decode_prototype_mask(prototypes, a.channels, a.h, a.w,
                            std::span(coefficients).first(a.coefficients), {0, 0, 9, 9},
                            a.image_height, a.image_width, a.spec, scratch);
    });
  };
  EXPECT_EQ(call([](Arguments&) {}), "no error");
  EXPECT_TRUE(has(call([](Arguments& a) { a.channels = 3; }), "expected 3 x 4 x 5"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.channels = 0; }), "at least one channel"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.h = 0; }), "5 x 0"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.w = 1 << 30; }), "1073741824 x 4"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.coefficients = 1; }), "1 coefficients, expected 2"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.image_height = 0; }), "40 x 0"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.image_width = kMaxImageSide + 1; }), "1048577 x 30"));
  EXPECT_TRUE(
      has(call([](Arguments& a) { a.spec.network_height = 3; }), "larger than the network"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.spec.network_width = -1; }), "-1 x 16"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.spec.threshold = kNaN; }), "expected 0 to 1"));
  EXPECT_TRUE(has(call([](Arguments& a) { a.spec.threshold = -0.1F; }), "expected 0 to 1"));
}

}  // namespace
}  // namespace instseg
