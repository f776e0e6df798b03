#include "core/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "instseg/error.hpp"

namespace instseg {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, EveryIndexIsVisitedOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  for (const std::int64_t count : {0, 1, 2, 7, 1000}) {
    for (const std::int64_t grain : {-1, 1, 3, 1000, 5000}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
      pool.parallel_for(10, 10 + count, grain, [&](std::int64_t begin, std::int64_t end) {
        EXPECT_LT(begin, end);
        EXPECT_LE(end - begin, std::max<std::int64_t>(grain, 1));
        for (std::int64_t i = begin; i < end; ++i) {
          ++visits[static_cast<std::size_t>(i - 10)];
        }
      });
      for (const auto& visit : visits) {
        EXPECT_EQ(visit, 1);
      }
    }
  }
}

TEST_P(ThreadPoolTest, EmptyAndReversedRangesRunNothing) {
  ThreadPool pool(GetParam());
  const auto fail = [](std::int64_t, std::int64_t) { FAIL(); };
  pool.parallel_for(5, 5, 1, fail);
  pool.parallel_for(5, -5, 1, fail);
}

TEST_P(ThreadPoolTest, RangesAtTheLimitsOfTheType) {
  ThreadPool pool(GetParam());
  constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::uint64_t> covered{0};
  pool.parallel_for(lowest, highest, highest / 2, [&](std::int64_t begin, std::int64_t end) {
    covered += static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(begin);
  });
  EXPECT_EQ(covered, std::numeric_limits<std::uint64_t>::max());
}

TEST_P(ThreadPoolTest, ExceptionReachesTheCallerAndThePoolLivesOn) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 50; ++round) {
    try {
      pool.parallel_for(0, 100, 1, [](std::int64_t begin, std::int64_t) {
        if (begin == 37) {
          throw std::runtime_error("chunk 37");
        }
      });
      FAIL() << "no exception";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(std::string(error.what()), "chunk 37");
    }
  }
  std::atomic<int> sum{0};
  pool.parallel_for(0, 10, 1, [&](std::int64_t begin, std::int64_t) { sum += int(begin); });
  EXPECT_EQ(sum, 45);
}

TEST_P(ThreadPoolTest, NestedLoopsFinish) {
  ThreadPool pool(GetParam());
  std::atomic<int> count{0};
  pool.parallel_for(0, 8, 1, [&](std::int64_t, std::int64_t) {
    pool.parallel_for(0, 8, 1, [&](std::int64_t, std::int64_t) {
      pool.parallel_for(0, 8, 1, [&](std::int64_t, std::int64_t) { ++count; });
    });
  });
  EXPECT_EQ(count, 512);
}

TEST_P(ThreadPoolTest, ManyCallersAtOnce) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> sums(6);
  {
    std::vector<std::jthread> callers;
    for (std::size_t caller = 0; caller < sums.size(); ++caller) {
      callers.emplace_back([&pool, &sums, caller] {
        for (int round = 0; round < 100; ++round) {
          std::vector<std::int64_t> values(64);
          pool.parallel_for(0, 64, 3, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
              values[static_cast<std::size_t>(i)] = i;
            }
          });
          sums[caller] += std::accumulate(values.begin(), values.end(), std::int64_t{0});
        }
      });
    }
  }
  for (const std::int64_t sum : sums) {
    EXPECT_EQ(sum, 100 * 63 * 64 / 2);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 5));

TEST(ThreadPoolErrors, ThreadCountIsChecked) {
  for (const int threads : {0, -3, ThreadPool::kMaxThreads + 1}) {
    try {
      ThreadPool pool(threads);
      FAIL() << threads;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(error.what()).find(std::to_string(threads)), std::string::npos);
    }
  }
}

TEST(ThreadPoolThreads, WorkersTakePart) {
  ThreadPool pool(2);
  // Both chunks wait for each other: only two threads can pass.
  std::atomic<int> arrived{0};
  pool.parallel_for(0, 2, 1, [&](std::int64_t, std::int64_t) {
    ++arrived;
    while (arrived < 2) {
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(arrived, 2);
}

}  // namespace
}  // namespace instseg
