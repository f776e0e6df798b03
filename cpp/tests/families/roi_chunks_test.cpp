#include "families/roi_chunks.hpp"

#include <gtest/gtest.h>

#include <set>

namespace instseg {
namespace {

constexpr std::size_t kSmall = std::size_t{256} * 7 * 7 * sizeof(float);
constexpr std::size_t kLarge = std::size_t{1024} * 14 * 14 * sizeof(float);

TEST(RoiChunks, CoverAllRoisWithinTheMemory) {
  for (const std::size_t bytes : {kSmall, kLarge, kMaxRoiFeatureBytes, 2 * kMaxRoiFeatureBytes}) {
    for (std::size_t count = 1; count <= 9000; ++count) {
      const RoiChunks chunks = plan_roi_chunks(count, bytes);
      ASSERT_GE(chunks.rois, 1U);
      ASSERT_LE(chunks.rois, chunks.size);
      ASSERT_TRUE(chunks.size == 1 || chunks.size * bytes <= kMaxRoiFeatureBytes) << count;
      // No run is left without RoIs, and few RoIs are filled up.
      const std::size_t runs = (count + chunks.rois - 1) / chunks.rois;
      ASSERT_LT((runs - 1) * chunks.rois, count);
      ASSERT_LE((chunks.size - chunks.rois) * kRoiCountsPerOctave, chunks.rois) << count;
    }
  }
}

TEST(RoiChunks, FewSizes) {
  std::set<std::size_t> sizes;
  for (std::size_t count = 1; count <= 8000; ++count) {
    sizes.insert(plan_roi_chunks(count, kSmall).size);
  }
  // 16 up to 16, and 8 for each doubling up to the 250 RoIs that fit.
  EXPECT_LE(sizes.size(), 16U + 6 * 8);
}

TEST(RoiChunks, Examples) {
  // Nearly equal runs, not a full one and a rest.
  EXPECT_EQ(plan_roi_chunks(1000, kSmall).rois, 200U);
  EXPECT_EQ(plan_roi_chunks(1000, kSmall).size, 208U);
  EXPECT_EQ(plan_roi_chunks(1000, kLarge).rois, 15U);
  EXPECT_EQ(plan_roi_chunks(1000, kLarge).size, 15U);
  EXPECT_EQ(plan_roi_chunks(13, kLarge).size, 13U);
  EXPECT_EQ(plan_roi_chunks(17, kLarge).size, 9U);
}

}  // namespace
}  // namespace instseg
