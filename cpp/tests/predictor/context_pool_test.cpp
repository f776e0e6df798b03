#include "context_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace instseg {
namespace {

struct Counter {
  int uses = 0;
};

TEST(ContextPool, NeverMoreThanTheLimitAndEachForOne) {
  constexpr int kLimit = 2;
  std::atomic<int> created = 0;
  std::atomic<int> in_use = 0;
  std::atomic<int> most = 0;
  ContextPool<Counter> pool(kLimit, [&] {
    ++created;
    return std::make_unique<Counter>();
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 200; ++k) {
        const auto lease = pool.take();
        const int now = ++in_use;
        int before = most;
        while (now > before && !most.compare_exchange_weak(before, now)) {
        }
        ++lease->uses;
        std::this_thread::yield();
        --in_use;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_LE(created, kLimit);
  EXPECT_LE(most, kLimit);
  int uses = 0;
  for (const auto& lease : pool.take_all()) {
    uses += lease->uses;
  }
  EXPECT_EQ(uses, 6 * 200);
}

TEST(ContextPool, FailureToCreateIsPassedOnAndFreesThePlace) {
  bool fail = true;
  ContextPool<Counter> pool(1, [&] {
    if (fail) {
      throw std::runtime_error("no memory");
    }
    return std::make_unique<Counter>();
  });
  EXPECT_THROW((void)pool.take(), std::runtime_error);
  fail = false;
  EXPECT_EQ(pool.take()->uses, 0);
}

}  // namespace
}  // namespace instseg
