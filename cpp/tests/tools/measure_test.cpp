#include "instseg_run/measure.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <stdexcept>

namespace instseg::run {
namespace {

// Time passes only where the test lets it.
struct SetClock {
  double now = 100.0;
  [[nodiscard]] Clock clock() {
    return [this] { return now; };
  }
};

const Stopped never = [] { return false; };

TEST(WarmUpTest, EndsWhenThreeWindowsAgree) {
  SetClock time;
  int calls = 0;
  // The first two windows are slower.
  const WarmUp done = warm_up(
      [&](std::size_t number) {
        EXPECT_EQ(number, static_cast<std::size_t>(calls % 5));
        time.now += calls < 5 ? 0.5 : calls < 10 ? 0.25 : 0.125;
        ++calls;
      },
      1000.0, time.clock(), never);
  EXPECT_TRUE(done.stable);
  EXPECT_EQ(done.calls, 25);
  EXPECT_EQ(done.medians_ms, (std::vector<double>{500.0, 250.0, 125.0, 125.0, 125.0}));
  EXPECT_DOUBLE_EQ(done.seconds, 2.5 + 1.25 + 3 * 0.625);
}

TEST(WarmUpTest, EndsWithItsTime) {
  SetClock time;
  double took = 1.0;
  const WarmUp done = warm_up(
      [&](std::size_t) {
        time.now += took;
        took *= 1.5;
      },
      0.0, time.clock(), never);
  EXPECT_FALSE(done.stable);
  EXPECT_EQ(done.calls, 5);
}

TEST(WarmUpTest, StopsWithinAWindow) {
  int calls = 0;
  const WarmUp done =
      warm_up([&](std::size_t) { ++calls; }, 3600.0, steady_clock(), [&] { return calls == 7; });
  EXPECT_EQ(calls, 7);
  EXPECT_FALSE(done.stable);
  EXPECT_EQ(done.medians_ms.size(), 1U);
}

TEST(MeasureTest, DurationAndFewestCalls) {
  SetClock time;
  std::vector<std::size_t> numbers;
  const auto call = [&](std::size_t number) {
    numbers.push_back(number);
    time.now += 0.5;
    return CallTimes{1.0, 2.0, 3.0, 4.0, static_cast<double>(number)};
  };
  const Measurement by_time = measure(call, 1, {10.0, 3}, time.clock(), never);
  EXPECT_EQ(by_time.calls.size(), 20U);
  EXPECT_DOUBLE_EQ(by_time.elapsed_s, 10.0);
  EXPECT_EQ(numbers.back(), 19U);
  EXPECT_DOUBLE_EQ(by_time.calls[7].total, 7.0);
  const Measurement by_calls = measure(call, 1, {0.0, 3}, time.clock(), never);
  EXPECT_EQ(by_calls.calls.size(), 3U);
}

TEST(MeasureTest, StreamsShareTheCalls) {
  std::atomic<int> calls = 0;
  const Measurement done = measure(
      [&](std::size_t number) {
        ++calls;
        return CallTimes{0.0, 0.0, 0.0, 0.0, static_cast<double>(number)};
      },
      4, {0.0, 200}, steady_clock(), never);
  EXPECT_EQ(calls, 200);
  std::set<double> numbers;
  for (const CallTimes& times : done.calls) {
    numbers.insert(times.total);
  }
  EXPECT_EQ(numbers.size(), 200U);
  EXPECT_DOUBLE_EQ(*numbers.rbegin(), 199.0);
}

TEST(MeasureTest, WhatWasMeasuredUntilItWasStopped) {
  for (const int streams : {1, 3}) {
    std::atomic<int> calls = 0;
    const auto call = [&](std::size_t) {
      ++calls;
      return CallTimes{};
    };
    const Measurement done =
        measure(call, streams, {3600.0, 1000}, steady_clock(), [&] { return calls >= 20; });
    EXPECT_EQ(done.calls.size(), static_cast<std::size_t>(calls));
    EXPECT_GE(done.calls.size(), 20U);
    EXPECT_LT(done.calls.size(), 20U + static_cast<std::size_t>(streams));
  }
}

TEST(MeasureTest, ThrowsWhatACallThrew) {
  for (const int streams : {1, 3}) {
    const auto call = [](std::size_t number) -> CallTimes {
      if (number == 5) {
        throw std::runtime_error("no such image");
      }
      return {};
    };
    EXPECT_THROW((void)measure(call, streams, {3600.0, 10}, steady_clock(), never),
                 std::runtime_error);
  }
}

}  // namespace
}  // namespace instseg::run
