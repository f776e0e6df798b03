#include "ops/mask_render.hpp"

#include <gtest/gtest.h>

#include "ops/mask_testing.hpp"

namespace instseg {
namespace {

using testing_masks::Crop;
using testing_masks::random_mask;

TEST(CropToBounds, KeepsThePixels) {
  std::mt19937 random(20);
  for (int round = 0; round < 200; ++round) {
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    const Crop crop{pick(0, 50), pick(0, 9), pick(1, 140), pick(1, 12)};
    const PackedMask mask = random_mask(random, crop, round % 3 == 0 ? 0.01 : 0.0);
    const PackedMask tight = crop_to_bounds(mask);
    EXPECT_EQ(tight.area(), mask.area());
    EXPECT_EQ(tight.bounds(), mask.bounds());
    const Box bounds = mask.bounds();
    EXPECT_EQ(tight.width(), static_cast<int>(bounds.x2 - bounds.x1));
    EXPECT_EQ(tight.height(), static_cast<int>(bounds.y2 - bounds.y1));
    for (int y = crop.y; y < crop.y + crop.height; ++y) {
      for (int x = crop.x; x < crop.x + crop.width; ++x) {
        ASSERT_EQ(tight.test(x, y), mask.test(x, y)) << round;
      }
    }
  }
  EXPECT_EQ(crop_to_bounds(PackedMask()), PackedMask());
}

TEST(AxisWindow, IsThePixelsThatReadTheCells) {
  std::mt19937 random(21);
  for (int round = 0; round < 200; ++round) {
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    const int cells = pick(1, 20), upsampled = cells * pick(1, 4), visible = pick(1, upsampled);
    const int image = pick(1, 90), begin = pick(0, cells - 1), end = pick(begin, cells);
    AxisTaps taps;
    const Reach reach = compose_axis({cells, upsampled, visible, image}, {0, visible}, taps);
    EXPECT_EQ(reach.pixels.begin, 0);
    EXPECT_EQ(reach.pixels.end, image);
    const AxisWindow window = narrow(taps, image, {begin, end});
    for (int i = 0; i < image; ++i) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_NEAR(taps.w0[at] + taps.w1[at] + taps.w2[at], 1.0F, 1e-6F);
      const auto reads = [&](int offset, float weight) {
        const int cell = taps.first[at] + offset;
        const bool inside = i >= window.pixels.begin && i < window.pixels.end;
        if (weight > 0.0F) {
          EXPECT_LT(cell, cells);
          EXPECT_TRUE(!inside || (cell >= window.cells.begin && cell < window.cells.end));
        }
        return weight > 0.0F && cell >= begin && cell < end;
      };
      const bool read = reads(0, taps.w0[at]) | reads(1, taps.w1[at]) | reads(2, taps.w2[at]);
      EXPECT_TRUE(!read || (i >= window.pixels.begin && i < window.pixels.end)) << round;
    }
  }
}

}  // namespace
}  // namespace instseg
