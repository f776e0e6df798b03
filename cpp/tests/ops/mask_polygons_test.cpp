#include <gtest/gtest.h>

#include <cmath>

#include "instseg/mask.hpp"
#include "ops/mask_testing.hpp"

namespace instseg {
namespace {

using testing_masks::Crop;
using testing_masks::pack;
using testing_masks::random_mask;
using Points = std::vector<std::array<float, 2>>;

// Positive for rings that run clockwise on screen (y down).
double signed_area(const Points& points) {
  double sum = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto& [x1, y1] = points[i];
    const auto& [x2, y2] = points[(i + 1) % points.size()];
    sum += double{x1} * double{y2} - double{x2} * double{y1};
  }
  return sum / 2;
}

// Even-odd rule, a ray to the left of the pixel's centre.
bool fills(const std::vector<Polygon>& rings, int x, int y) {
  bool inside = false;
  for (const Polygon& ring : rings) {
    for (std::size_t i = 0; i < ring.points.size(); ++i) {
      const auto& [x1, y1] = ring.points[i];
      const auto& [x2, y2] = ring.points[(i + 1) % ring.points.size()];
      const double centre_x = x + 0.5, centre_y = y + 0.5;
      if ((double{y1} < centre_y) != (double{y2} < centre_y) && double{x1} < centre_x) {
        inside = !inside;
      }
    }
  }
  return inside;
}

TEST(Polygons, OnePixel) {
  const auto rings = polygons(pack({5, 7, 3, 3}, [](int x, int y) { return x == 6 && y == 8; }));
  ASSERT_EQ(rings.size(), 1U);
  EXPECT_EQ(rings[0].points, (Points{{6, 8}, {7, 8}, {7, 9}, {6, 9}}));
  EXPECT_FALSE(rings[0].hole);
}

TEST(Polygons, RingWithAHole) {
  const auto rings = polygons(pack({0, 0, 3, 3}, [](int x, int y) { return x != 1 || y != 1; }));
  ASSERT_EQ(rings.size(), 2U);
  EXPECT_EQ(rings[0].points, (Points{{0, 0}, {3, 0}, {3, 3}, {0, 3}}));
  EXPECT_FALSE(rings[0].hole);
  EXPECT_TRUE(rings[1].hole);
  EXPECT_EQ(signed_area(rings[1].points), -1);
}

TEST(Polygons, PixelsThatTouchAtACornerAreApart) {
  for (const bool falling : {true, false}) {
    const auto rings =
        polygons(pack({0, 0, 2, 2}, [&](int x, int y) { return (x == y) == falling; }));
    ASSERT_EQ(rings.size(), 2U);
    EXPECT_EQ(rings[0].points.size(), 4U);
    EXPECT_EQ(rings[1].points.size(), 4U);
  }
}

TEST(Polygons, NothingSetHasNoOutline) {
  EXPECT_TRUE(polygons(PackedMask()).empty());
  EXPECT_TRUE(polygons(PackedMask(1, 1, 2, 2, {0, 0})).empty());
  EXPECT_TRUE(polygons(PackedMask(1, 1, 0, 2, {})).empty());
}

TEST(Polygons, FillingThemGivesTheMaskAgain) {
  std::mt19937 random(5);
  for (const Crop& crop : std::vector<Crop>{{0, 0, 1, 1},
                                            {3, 2, 31, 5},
                                            {0, 0, 32, 32},
                                            {7, 1, 33, 20},
                                            {2, 0, 64, 50},
                                            {1, 1, 70, 40}}) {
    for (const double share : {0.0, 0.05, 0.5, 0.95, 1.0}) {
      const PackedMask mask = random_mask(random, crop, share);
      const auto rings = polygons(mask);
      double area = 0;
      for (const Polygon& ring : rings) {
        const double ring_area = signed_area(ring.points);
        EXPECT_EQ(ring.hole, ring_area < 0);
        area += ring_area;
        ASSERT_GE(ring.points.size(), 4U);
        for (std::size_t i = 0; i < ring.points.size(); ++i) {
          const auto& before = ring.points[i];
          const auto& corner = ring.points[(i + 1) % ring.points.size()];
          const auto& after = ring.points[(i + 2) % ring.points.size()];
          EXPECT_NE(before[0] == corner[0], before[1] == corner[1]);
          EXPECT_NE(before[0] == corner[0], corner[0] == after[0]) << "collinear points";
        }
      }
      EXPECT_EQ(area, static_cast<double>(mask.area()));
      for (int y = crop.y; y < crop.y + crop.height; ++y) {
        for (int x = crop.x; x < crop.x + crop.width; ++x) {
          ASSERT_EQ(fills(rings, x, y), mask.test(x, y)) << x << " " << y;
        }
      }
    }
  }
}

}  // namespace
}  // namespace instseg
