#include "ops/mask_paste.hpp"

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
using testing_planes::recorded_values;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Recorded from the reference's paste with paddle.nn.functional.grid_sample (3.3.1).
TEST(MaskPaste, AgreesWithRecordedPaddle) {
  const std::vector<std::string> expected{
      "....................", "....................", ".......#............",
      "......##########....", ".......##....####...", "..............####..",
      "...#..........###...", "..#######...........", "...##########.......",
      "..........######....", "..........#######...", "....................",
      "....................", "....................",
  };
  std::vector<float> map = recorded_values(16);
  for (float& value : map) {
    value = value * 0.5F + 0.5F;
  }
  MaskPasteScratch scratch;
  const PackedMask mask =
      paste_mask(map, 4, 4, {1.5F, 2.25F, 17.75F, 11.5F}, 14, 20, 0.5F, scratch);
  for (int y = 0; y < 14; ++y) {
    std::string row;
    for (int x = 0; x < 20; ++x) {
      row += mask.test(x, y) ? '#' : '.';
    }
    EXPECT_EQ(row, expected[static_cast<std::size_t>(y)]) << y;
  }
}

// Every pixel of the image, in double precision.
double plain(const std::vector<float>& map, int h, int w, const Box& box, int x, int y) {
  const double px = (x + 0.5 - double{box.x1}) / (double{box.x2} - double{box.x1}) * w - 0.5;
  const double py = (y + 0.5 - double{box.y1}) / (double{box.y2} - double{box.y1}) * h - 0.5;
  const double x0 = std::floor(px), y0 = std::floor(py);
  const auto at = [&](double row, double column) {
    const bool inside = row >= 0 && row < h && column >= 0 && column < w;
    return inside ? double{map[static_cast<std::size_t>(row * w + column)]} : 0.0;
  };
  const double tx = px - x0, ty = py - y0;
  return (1 - ty) * ((1 - tx) * at(y0, x0) + tx * at(y0, x0 + 1)) +
         ty * ((1 - tx) * at(y0 + 1, x0) + tx * at(y0 + 1, x0 + 1));
}

TEST(MaskPaste, AgreesWithTheDenseVersion) {
  std::mt19937 random(4);
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  MaskPasteScratch scratch;
  for (int round = 0; round < 150; ++round) {
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    const int h = round % 3 == 0 ? 28 : pick(1, 9), w = round % 3 == 0 ? 28 : pick(1, 9);
    const int height = pick(1, 70), width = pick(1, 100);
    std::vector<float> map;
    for (int i = 0; i < h * w; ++i) {
      map.push_back(uniform(random));
    }
    const auto coordinate = [&](int size) {
      const float value = (uniform(random) * 1.6F - 0.3F) * static_cast<float>(size);
      return round % 4 == 0 ? std::round(value) : value;
    };
    const float xa = coordinate(width), xb = coordinate(width);
    const float ya = coordinate(height), yb = coordinate(height);
    const Box box{std::min(xa, xb), std::min(ya, yb), std::max(xa, xb), std::max(ya, yb)};
    const float threshold = round % 5 == 0 ? 0.2F : 0.5F;
    const PackedMask mask = paste_mask(map, h, w, box, height, width, threshold, scratch);
    ASSERT_LE(mask.x() + mask.width(), width);
    ASSERT_LE(mask.y() + mask.height(), height);
    if (!(box.x1 < box.x2 && box.y1 < box.y2)) {
      ASSERT_EQ(mask, PackedMask());
      continue;
    }
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const double value = plain(map, h, w, box, x, y);
        // Positions are single precision, and a narrow box magnifies their error.
        const float narrowest = std::min(box.x2 - box.x1, box.y2 - box.y1);
        if (std::abs(value - double{threshold}) > 1e-3 / std::min(1.0, double{narrowest})) {
          ASSERT_EQ(mask.test(x, y), value >= double{threshold}) << round << ": " << x << " " << y;
        }
      }
    }
  }
}

TEST(MaskPaste, OfOnesIsTheBox) {
  MaskPasteScratch scratch;
  const std::vector<float> ones(28 * 28, 1.0F);
  const PackedMask mask = paste_mask(ones, 28, 28, {3, 5, 43, 25}, 60, 80, 0.5F, scratch);
  EXPECT_EQ(mask.bounds(), (Box{3, 5, 43, 25}));
  EXPECT_EQ(mask.area(), 40 * 20);
  const PackedMask all = paste_mask(ones, 28, 28, {-50, -50, 130, 110}, 60, 80, 1.0F, scratch);
  EXPECT_EQ(all.area(), 60 * 80);
}

TEST(MaskPaste, BoxesThatAreNone) {
  MaskPasteScratch scratch;
  const std::vector<float> ones(4, 1.0F);
  for (const Box& box : {Box{5, 5, 5, 9}, Box{9, 5, 5, 9}, Box{kNaN, 0, 9, 9},
                         Box{0, 0, kInfinity, 9}, Box{-kInfinity, 0, 9, 9},
                         Box{-3e38F, 0, 3e38F, 9}, Box{100, 0, 109, 9}, Box{0, -90, 9, -40}}) {
    EXPECT_EQ(paste_mask(ones, 2, 2, box, 30, 40, 0.5F, scratch), PackedMask());
  }
  EXPECT_EQ(paste_mask(ones, 2, 2, {-1e30F, -1e30F, 1e30F, 1e30F}, 30, 40, 0.5F, scratch).area(),
            30 * 40);
  EXPECT_EQ(paste_mask(ones, 2, 2, {5, 5, 5.0001F, 5.0001F}, 30, 40, 0.5F, scratch).area(), 0);
}

TEST(MaskPaste, ProbabilitiesThatAreNone) {
  MaskPasteScratch scratch;
  const std::vector<float> map{kNaN, kInfinity, -kInfinity, 1.0F};
  const PackedMask mask = paste_mask(map, 1, 4, {0, 0, 4, 1}, 1, 4, 0.5F, scratch);
  EXPECT_FALSE(mask.test(0, 0));
  EXPECT_TRUE(mask.test(1, 0));
  EXPECT_FALSE(mask.test(2, 0));
  EXPECT_TRUE(mask.test(3, 0));
}

TEST(MaskPaste, ChecksItsArguments) {
  const std::vector<float> map(6);
  const auto call = [&](int h, int w, int height, int width, float threshold) {
    MaskPasteScratch scratch;
    return error_of(
        [&] { paste_mask(map, h, w, {0, 0, 4, 4}, height, width, threshold, scratch); });
  };
  EXPECT_EQ(call(2, 3, 5, 5, 0.5F), "no error");
  EXPECT_TRUE(has(call(2, 2, 5, 5, 0.5F), "6 probabilities, expected 4"));
  EXPECT_TRUE(has(call(0, 3, 5, 5, 0.5F), "3 x 0"));
  EXPECT_TRUE(has(call(2, 3, 0, 5, 0.5F), "5 x 0"));
  EXPECT_TRUE(has(call(2, 3, 5, kMaxImageSide + 1, 0.5F), "1048577 x 5"));
  EXPECT_TRUE(has(call(2, 3, 5, 5, 0.0F), "threshold"));
  EXPECT_TRUE(has(call(2, 3, 5, 5, kNaN), "threshold"));
}

}  // namespace
}  // namespace instseg
