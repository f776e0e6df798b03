#include "instseg_run/server.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <stdexcept>

namespace instseg::run {
namespace {

const Stopped never = [] { return false; };

// Time passes only in calls and while waiting.
struct SetClock {
  double now = 100.0;
  [[nodiscard]] Clock clock() {
    return [this] { return now; };
  }
  [[nodiscard]] Sleep sleep() {
    return [this](double seconds) { now += seconds; };
  }
};

TEST(ArrivalTimes, ArePoissonAndTheSameForTheSameSeed) {
  const std::vector<double> arrivals = arrival_times(50.0, 400.0, 3);
  // 20000 are expected; the standard deviation is 141.
  EXPECT_NEAR(static_cast<double>(arrivals.size()), 20000.0, 600.0);
  EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end()));
  EXPECT_LT(arrivals.back(), 400.0);
  // Gaps of an exponential distribution are below ln 2 / qps in half of all cases.
  std::size_t below = 0;
  for (std::size_t i = 1; i < arrivals.size(); ++i) {
    below += arrivals[i] - arrivals[i - 1] < 0.6931 / 50.0 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(below) / static_cast<double>(arrivals.size()), 0.5, 0.02);
  EXPECT_EQ(arrival_times(50.0, 400.0, 3), arrivals);
  EXPECT_NE(arrival_times(50.0, 400.0, 4), arrivals);
  EXPECT_TRUE(arrival_times(1e-6, 1.0, 0).empty());
}

TEST(Serve, WaitingCountsFromTheArrival) {
  SetClock time;
  const auto call = [&](std::size_t number) {
    time.now += 2.0;
    return CallTimes{0.0, 0.0, 0.0, 0.0, static_cast<double>(number)};
  };
  const Serving done = serve(call, 1, {1.0, 1.5, 8.0}, time.clock(), time.sleep(), never);
  ASSERT_EQ(done.served.size(), 3U);
  EXPECT_DOUBLE_EQ(done.served[0].wait_ms(), 0.0);
  EXPECT_DOUBLE_EQ(done.served[0].latency_ms(), 2000.0);
  EXPECT_DOUBLE_EQ(done.served[1].wait_ms(), 1500.0);  // begun when the first has ended, at 3.0
  EXPECT_DOUBLE_EQ(done.served[1].latency_ms(), 3500.0);
  EXPECT_DOUBLE_EQ(done.served[2].wait_ms(), 0.0);
  EXPECT_DOUBLE_EQ(done.served[2].times.total, 2.0);
  EXPECT_DOUBLE_EQ(done.elapsed_s, 10.0);
}

TEST(Serve, WhatHasNotBegunLongAfterTheArrivalsStaysOut) {
  SetClock time;
  const auto call = [&](std::size_t) {
    time.now += 3.0;
    return CallTimes{};
  };
  // Arrivals end at 4.0: nothing begins after 8.0.
  const Serving done = serve(call, 1, {0.5, 1.0, 2.0, 3.0, 4.0}, time.clock(), time.sleep(), never);
  EXPECT_EQ(done.served.size(), 3U);
  const ServerFigures figures = server_figures({1.0, 4000.0, 0}, done, 5);
  EXPECT_EQ(figures.unanswered, 2);
  EXPECT_EQ(figures.over, 4);  // latencies of 3, 5.5 and 7.5 s
  EXPECT_FALSE(figures.holds);
  EXPECT_DOUBLE_EQ(figures.answered_qps, 3 / 9.5);
}

TEST(Serve, TheLoadHoldsWithEnoughQueries) {
  SetClock time;
  const auto call = [&](std::size_t) {
    time.now += 0.25;
    return CallTimes{};
  };
  std::vector<double> arrivals;
  for (int i = 1; i <= 459; ++i) {
    arrivals.push_back(i);
  }
  const Serving done = serve(call, 1, arrivals, time.clock(), time.sleep(), never);
  const ServerFigures figures = server_figures({1.0, 300.0, 0}, done, 459);
  EXPECT_TRUE(figures.holds);
  EXPECT_EQ(figures.needed, 459);
  EXPECT_DOUBLE_EQ(figures.arrived_qps, 1.0);
  EXPECT_FALSE(server_figures({1.0, 200.0, 0}, done, 459).holds);
}

TEST(Serve, StreamsShareTheQueries) {
  std::atomic<int> calls = 0;
  const auto call = [&](std::size_t number) {
    ++calls;
    return CallTimes{0.0, 0.0, 0.0, 0.0, static_cast<double>(number)};
  };
  const std::vector<double> arrivals(200, 30.0);  // all at once; time is set beyond
  std::atomic<double> now = 0.0;
  const Serving done =
      serve(call, 4, arrivals, [&] { return now.load(); }, [&](double) { now = 30.0; }, never);
  EXPECT_EQ(calls, 200);
  std::set<double> numbers;
  for (const Served& query : done.served) {
    numbers.insert(query.times.total);
  }
  EXPECT_EQ(numbers.size(), 200U);
}

TEST(Serve, StopsWhileItWaits) {
  SetClock time;
  int calls = 0;
  const auto call = [&](std::size_t) {
    ++calls;
    return CallTimes{};
  };
  const Serving done = serve(
      call, 1, {1.0, 3600.0}, time.clock(), [&](double) { time.now += 0.5; },
      [&] { return time.now > 102.0; });
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(done.served.size(), 1U);
  EXPECT_LT(done.elapsed_s, 4.0);
}

TEST(Serve, ThrowsWhatACallThrew) {
  for (const int streams : {1, 3}) {
    const auto call = [](std::size_t number) -> CallTimes {
      if (number == 5) {
        throw std::runtime_error("no such image");
      }
      return {};
    };
    const std::vector<double> arrivals(10, 0.0);
    EXPECT_THROW((void)serve(
                     call, streams, arrivals, [] { return 0.0; }, [](double) {}, never),
                 std::runtime_error);
  }
}

}  // namespace
}  // namespace instseg::run
