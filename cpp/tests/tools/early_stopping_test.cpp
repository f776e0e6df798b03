#include "instseg_run/early_stopping.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace instseg::run {
namespace {

// Calls that took 1, 2, … ms, the slowest first.
std::vector<double> calls(int count) {
  std::vector<double> samples(static_cast<std::size_t>(count));
  std::iota(samples.rbegin(), samples.rend(), 1.0);
  return samples;
}

// The rules' own table: 64 calls for the 90th percentile, 662 for the 99th.
TEST(EarlyStopping, TooFewCalls) {
  EXPECT_EQ(early_stopping_estimate(calls(63), 90).needed, 64);
  EXPECT_FALSE(early_stopping_estimate(calls(63), 90).latency_ms);
  EXPECT_FALSE(early_stopping_estimate(calls(63), 90).discarded);
  EXPECT_EQ(early_stopping_estimate(calls(661), 99).needed, 662);
  EXPECT_FALSE(early_stopping_estimate(calls(661), 99).latency_ms);
  EXPECT_FALSE(early_stopping_estimate(calls(1), 90).latency_ms);
}

TEST(EarlyStopping, TheFewestCallsGiveTheSlowest) {
  const Estimate p90 = early_stopping_estimate(calls(64), 90);
  EXPECT_DOUBLE_EQ(p90.latency_ms.value(), 64.0);
  EXPECT_EQ(p90.discarded.value(), 0);
  EXPECT_DOUBLE_EQ(early_stopping_estimate(calls(662), 99).latency_ms.value(), 662.0);
}

TEST(EarlyStopping, MoreCallsLeaveOutTheSlowest) {
  const Estimate estimate = early_stopping_estimate(calls(1000), 90);
  // Between the plain percentile and the slowest.
  EXPECT_GT(estimate.latency_ms.value(), 900.0);
  EXPECT_LT(estimate.latency_ms.value(), 1000.0);
  EXPECT_DOUBLE_EQ(estimate.latency_ms.value(), 1000.0 - estimate.discarded.value());
}

// The rules' table of the server scenario.
TEST(EarlyStopping, CallsNeededWithSomeAboveTheBound) {
  EXPECT_EQ(needed_calls(0, 99), 459);
  EXPECT_EQ(needed_calls(1, 99), 662);
  EXPECT_FALSE(is_shown(0, 458, 99));
  EXPECT_TRUE(is_shown(0, 459, 99));
  EXPECT_FALSE(is_shown(1, 661, 99));
  EXPECT_TRUE(is_shown(1, 662, 99));
  EXPECT_FALSE(is_shown(5, 5, 99));
}

}  // namespace
}  // namespace instseg::run
