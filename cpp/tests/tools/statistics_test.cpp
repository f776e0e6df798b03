#include "instseg_run/statistics.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace instseg::run {
namespace {

TEST(Statistics, HundredSamples) {
  std::vector<double> samples(100);
  std::iota(samples.rbegin(), samples.rend(), 1.0);
  const Statistics s = compute_statistics(samples);
  EXPECT_DOUBLE_EQ(s.min, 1.0);
  EXPECT_DOUBLE_EQ(s.mean, 50.5);
  EXPECT_DOUBLE_EQ(s.median, 50.5);
  // trtexec: index 100 - 1 - int((1 - p / 100) * 100) in single precision, where 0.1 * 100 is a
  // little above 10, and 0.01 * 100 a little below 1.
  EXPECT_DOUBLE_EQ(s.p90, 90.0);
  EXPECT_DOUBLE_EQ(s.p95, 95.0);
  EXPECT_DOUBLE_EQ(s.p99, 100.0);
  EXPECT_DOUBLE_EQ(s.max, 100.0);
}

TEST(Statistics, FewSamples) {
  const Statistics one = compute_statistics({3.0});
  EXPECT_DOUBLE_EQ(one.median, 3.0);
  EXPECT_DOUBLE_EQ(one.p99, 3.0);
  const Statistics three = compute_statistics({3.0, 1.0, 2.0});
  EXPECT_DOUBLE_EQ(three.median, 2.0);
  EXPECT_DOUBLE_EQ(three.p90, 3.0);
}

TEST(Statistics, VariationOfAllSamples) {
  EXPECT_DOUBLE_EQ(compute_statistics({1.0, 3.0}).cv_percent, 50.0);
  EXPECT_DOUBLE_EQ(compute_statistics({2.0, 2.0}).cv_percent, 0.0);
  EXPECT_DOUBLE_EQ(compute_statistics({0.0}).cv_percent, 0.0);
}

TEST(Statistics, TableLeavesOutEmptyRows) {
  const std::string table = format_table({{"one", {1.0}}, {"none", {}}});
  EXPECT_NE(table.find("one"), std::string::npos);
  EXPECT_EQ(table.find("none"), std::string::npos);
}

}  // namespace
}  // namespace instseg::run
