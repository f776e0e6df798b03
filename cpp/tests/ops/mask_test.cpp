#include "instseg/mask.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "instseg/image.hpp"
#include "ops/bit_matrix.hpp"
#include "ops/mask_testing.hpp"

namespace instseg {
namespace {

using testing_masks::Crop;
using testing_masks::error_of;
using testing_masks::pack;
using testing_masks::random_mask;

TEST(TransposeBits, BitJOfWordIBecomesBitIOfWordJ) {
  std::mt19937 random(1);
  std::array<std::uint32_t, 32> tile{};
  std::ranges::generate(tile, [&] { return static_cast<std::uint32_t>(random()); });
  const auto before = tile;
  transpose_bits(tile);
  for (unsigned i = 0; i < 32; ++i) {
    for (unsigned j = 0; j < 32; ++j) {
      EXPECT_EQ((tile[j] >> i) & 1U, (before[i] >> j) & 1U);
    }
  }
}

TEST(PackedMask, LayoutIsLeastSignificantBitFirst) {
  const PackedMask mask(10, 20, 33, 2, {0x80000001U, 0x1U, 0x0U, 0x0U});
  EXPECT_EQ(mask.words_per_row(), 2);
  EXPECT_TRUE(mask.test(10, 20));
  EXPECT_TRUE(mask.test(41, 20));
  EXPECT_TRUE(mask.test(42, 20));
  EXPECT_FALSE(mask.test(11, 20));
  EXPECT_FALSE(mask.test(10, 21));
  EXPECT_EQ(mask.area(), 3);
  EXPECT_EQ(mask.bounds(), (Box{10, 20, 43, 21}));
}

TEST(PackedMask, NothingIsSetOutsideTheCrop) {
  const PackedMask mask = pack({5, 6, 40, 3}, [](int, int) { return true; });
  EXPECT_TRUE(mask.test(5, 6));
  EXPECT_TRUE(mask.test(44, 8));
  constexpr int lowest = std::numeric_limits<int>::min();
  constexpr int highest = std::numeric_limits<int>::max();
  for (const auto& [x, y] : std::vector<std::array<int, 2>>{
           {4, 6}, {45, 6}, {5, 5}, {5, 9}, {-1, -1}, {lowest, 6}, {highest, highest}}) {
    EXPECT_FALSE(mask.test(x, y)) << x << " " << y;
  }
}

TEST(PackedMask, EmptyMasks) {
  for (const PackedMask& mask : {PackedMask(), PackedMask(3, 4, 0, 7, {}),
                                 PackedMask(3, 4, 9, 0, {}), PackedMask(1, 1, 2, 2, {0, 0})}) {
    EXPECT_TRUE(mask.empty());
    EXPECT_EQ(mask.area(), 0);
    EXPECT_EQ(mask.bounds(), Box{});
    std::vector<std::uint8_t> dense(20 * 20, 9);
    mask.unpack(dense, 20, 20);
    EXPECT_EQ(std::ranges::count(dense, 0), 400);
  }
}

TEST(PackedMask, AgreesWithPixelByPixelWork) {
  std::mt19937 random(2);
  for (const Crop& crop : std::vector<Crop>{{0, 0, 1, 1},
                                            {3, 2, 31, 5},
                                            {0, 0, 32, 4},
                                            {7, 1, 33, 6},
                                            {2, 9, 64, 1},
                                            {1, 1, 95, 40}}) {
    for (const double share : {0.0, 0.02, 0.5, 1.0}) {
      const PackedMask mask = random_mask(random, crop, share);
      const int height = crop.y + crop.height + 3, width = crop.x + crop.width + 2;
      std::vector<std::uint8_t> dense(static_cast<std::size_t>(height * width), 7);
      mask.unpack(dense, height, width);
      std::int64_t area = 0;
      Box bounds{1e9F, 1e9F, 0, 0};
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          const bool set = mask.test(x, y);
          ASSERT_EQ(dense[static_cast<std::size_t>(y * width + x)], set ? 1 : 0);
          if (set) {
            ++area;
            bounds = {std::min(bounds.x1, static_cast<float>(x)),
                      std::min(bounds.y1, static_cast<float>(y)),
                      std::max(bounds.x2, static_cast<float>(x + 1)),
                      std::max(bounds.y2, static_cast<float>(y + 1))};
          }
        }
      }
      EXPECT_EQ(mask.area(), area);
      EXPECT_EQ(mask.empty(), area == 0);
      EXPECT_EQ(mask.bounds(), area == 0 ? Box{} : bounds);
    }
  }
}

TEST(PackedMask, CopiesAreDeepAndCompareByValue) {
  PackedMask first = pack({1, 2, 3, 4}, [](int x, int) { return x == 2; });
  const PackedMask copy = first;
  EXPECT_EQ(first, copy);
  first = PackedMask();
  EXPECT_EQ(copy.area(), 4);
  EXPECT_NE(first, copy);
}

TEST(PackedMask, ConstructorChecksGeometryAndWords) {
  const auto make = [](int x, int y, int width, int height, std::vector<std::uint32_t> words) {
    return error_of([&] { PackedMask(x, y, width, height, words); });
  };
  EXPECT_NE(make(-1, 0, 1, 1, {0}).find("(-1, 0)"), std::string::npos);
  EXPECT_NE(make(0, 0, -5, 1, {}).find("-5 x 1"), std::string::npos);
  EXPECT_NE(make(0, 0, kMaxImageSide + 1, 0, {}).find("1048577 x 0"), std::string::npos);
  EXPECT_NE(make(0, 0, kMaxImageSide, kMaxImageSide, {}).find("pixels"), std::string::npos);
  EXPECT_NE(make(0, 0, 33, 2, {0, 0, 0}).find("3 words"), std::string::npos);
  EXPECT_NE(make(0, 0, 33, 2, {0, 0, 0}).find("expected 4"), std::string::npos);
  EXPECT_NE(make(0, 0, 33, 2, {0, 1, 0, 2}).find("row 1"), std::string::npos);
  EXPECT_EQ(make(0, 0, 32, 1, {0xFFFFFFFFU}), "no error");
}

TEST(PackedMask, UnpackChecksItsOutput) {
  const PackedMask mask = pack({2, 3, 4, 5}, [](int, int) { return true; });
  std::vector<std::uint8_t> dense(64);
  EXPECT_EQ(error_of([&] { mask.unpack(dense, 8, 8); }), "no error");
  EXPECT_NE(error_of([&] { mask.unpack(dense, 8, 9); }).find("expected 72"), std::string::npos);
  EXPECT_NE(error_of([&] { mask.unpack(dense, 7, 8); }).find("not inside"), std::string::npos);
  EXPECT_NE(error_of([&] { mask.unpack(dense, -1, 8); }).find("8 x -1"), std::string::npos);
}

}  // namespace
}  // namespace instseg
