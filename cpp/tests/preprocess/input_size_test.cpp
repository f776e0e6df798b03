#include "preprocess/input_size.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace instseg {
namespace {

InputSpec keep_ratio(int short_side, int long_side, int pad_stride = 1) {
  InputSpec spec;
  spec.resize = InputSpec::Resize::keep_ratio;
  spec.short_side = short_side;
  spec.long_side = long_side;
  spec.pad_stride = pad_stride;
  return spec;
}

// short_side, long_side, height, width, and the resized height and width that
// instseg_trainer.input_spec.InputSpec.resized gave. The last rows with short side 800 are halves
// before the rounding.
const std::vector<std::array<int, 6>> kKnown{
    {800, 1333, 480, 640, 800, 1067},   {800, 1333, 640, 480, 1067, 800},
    {800, 1333, 427, 640, 800, 1199},   {800, 1333, 1080, 1920, 750, 1333},
    {800, 1333, 333, 500, 800, 1201},   {800, 1333, 1, 1, 800, 800},
    {800, 1333, 1, 5000, 1, 1333},      {800, 1333, 5000, 1, 1333, 1},
    {800, 1333, 100, 7, 1333, 93},      {800, 1333, 1333, 800, 1333, 800},
    {800, 1333, 800, 1333, 800, 1333},  {800, 1333, 3, 2000, 2, 1333},
    {800, 1333, 799, 1333, 799, 1333},  {800, 1333, 612, 612, 800, 800},
    {800, 1333, 375, 1242, 402, 1333},  {800, 1333, 3779, 2500, 1209, 800},
    {800, 1333, 2313, 3102, 800, 1073}, {800, 1333, 223, 1201, 248, 1333},
    {800, 1333, 3650, 22, 1333, 8},     {800, 1333, 526, 3188, 220, 1333},
    {800, 1333, 3266, 1212, 1333, 495}, {800, 1333, 2878, 1020, 1333, 472},
    {800, 1333, 1913, 2018, 800, 844},  {800, 1333, 2038, 3982, 682, 1333},
    {800, 1333, 2801, 2489, 900, 800},  {800, 1333, 1865, 862, 1333, 616},
    {800, 1333, 3429, 2450, 1120, 800}, {800, 1333, 1779, 143, 1333, 107},
    {800, 1333, 2317, 1600, 1159, 800}, {800, 1333, 2347, 1600, 1174, 800},
    {800, 1333, 519, 320, 1298, 800},   {800, 1333, 2513, 1600, 1257, 800},
    {800, 1333, 2601, 1600, 1301, 800}, {800, 1333, 1852, 1280, 1158, 800},
    {800, 1333, 2023, 1600, 1012, 800}, {800, 1333, 1783, 1600, 892, 800},
    {640, 640, 480, 640, 480, 640},     {640, 640, 333, 500, 426, 640},
    {640, 640, 100, 7, 640, 45},        {640, 640, 799, 1333, 384, 640},
    {640, 640, 2737, 3588, 488, 640},   {640, 640, 1140, 3494, 209, 640},
    {640, 640, 477, 1872, 163, 640},    {640, 640, 3961, 1780, 640, 288},
    {640, 640, 3230, 3170, 640, 628},   {640, 640, 3380, 641, 640, 121},
    {640, 640, 2317, 1600, 640, 442},   {640, 640, 2601, 1600, 640, 394},
    {33, 1000, 480, 640, 33, 44},       {33, 1000, 333, 500, 33, 50},
    {33, 1000, 100, 7, 471, 33},        {33, 1000, 799, 1333, 33, 55},
    {33, 1000, 2737, 3588, 33, 43},     {33, 1000, 1140, 3494, 33, 101},
    {33, 1000, 477, 1872, 33, 130},     {33, 1000, 3961, 1780, 73, 33},
    {33, 1000, 3230, 3170, 34, 33},     {33, 1000, 3380, 641, 174, 33},
    {33, 1000, 2317, 1600, 48, 33},     {33, 1000, 2601, 1600, 54, 33}};

TEST(InputSize, KeepRatioIsThatOfTheTrainer) {
  for (const auto& [short_side, long_side, height, width, resized_height, resized_width] : kKnown) {
    const PixelSize size = resized_size(keep_ratio(short_side, long_side), {height, width});
    EXPECT_EQ(size, (PixelSize{resized_height, resized_width}))
        << width << " x " << height << " to " << short_side << ", " << long_side << ": "
        << size.width << " x " << size.height;
  }
}

TEST(InputSize, KeepRatioStaysWithinItsSides) {
  const InputSpec spec = keep_ratio(800, 1333);
  for (int height = 1; height < 2500; height += 7) {
    for (int width = 1; width < 2500; width += 11) {
      const PixelSize size = resized_size(spec, {height, width});
      ASSERT_LE(std::max(size.height, size.width), 1333);
      ASSERT_LE(std::min(size.height, size.width), 800);
      ASSERT_GE(std::min(size.height, size.width), 1);
      ASSERT_TRUE(std::max(size.height, size.width) == 1333 ||
                  std::min(size.height, size.width) == 800);
    }
  }
}

TEST(InputSize, StretchIsFixed) {
  InputSpec spec;
  spec.height = 64;
  spec.width = 32;
  const PixelSize expected{64, 32};
  EXPECT_EQ(resized_size(spec, {1, 5000}), expected);
  EXPECT_EQ(input_size(spec, std::vector<PixelSize>{expected, expected}), expected);
}

TEST(InputSize, BatchHoldsTheLargestOnMultiplesOfTheStride) {
  const std::vector<PixelSize> batch{{800, 1067}, {1333, 700}, {1, 1}};
  EXPECT_EQ(input_size(keep_ratio(800, 1333), batch), (PixelSize{1333, 1067}));
  EXPECT_EQ(input_size(keep_ratio(800, 1333, 32), batch), (PixelSize{1344, 1088}));
  EXPECT_EQ(input_size(keep_ratio(800, 1333, 32), std::vector<PixelSize>{{800, 1312}}),
            (PixelSize{800, 1312}));
}

}  // namespace
}  // namespace instseg
