// A fixed pool of threads for loops.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace instseg {

// Safe to call from many threads at once, and from inside a loop body: a caller always takes part
// in its own loop, and waits only for chunks that other threads have already started. A loop
// allocates nothing.
class ThreadPool {
 public:
  // `threads` counts the caller: threads - 1 workers are started, and with 1 every loop runs
  // inline. Throws Error(invalid_argument) for fewer than 1 or more than kMaxThreads.
  explicit ThreadPool(int threads);
  ~ThreadPool();  // no loop may be running
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  static constexpr int kMaxThreads = 1024;

  [[nodiscard]] int threads() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(chunk_begin, chunk_end) for consecutive chunks of [begin, end), each at most `grain`
  // long (a grain below 1 counts as 1), in any order and on any thread of the pool, and returns
  // when all are done. When a body throws, chunks that have not started are left out and the first
  // exception is thrown here.
  template <class Body>
  void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, Body&& body) {
    using Stored = std::remove_reference_t<Body>;
    run(begin, end, grain, const_cast<void*>(static_cast<const void*>(std::addressof(body))),
        [](void* erased, std::int64_t chunk_begin, std::int64_t chunk_end) {
          (*static_cast<Stored*>(erased))(chunk_begin, chunk_end);
        });
  }

 private:
  using ErasedBody = void (*)(void* body, std::int64_t begin, std::int64_t end);
  struct Loop;

  void run(std::int64_t begin, std::int64_t end, std::int64_t grain, void* body, ErasedBody call);
  void work();
  void stop() noexcept;
  void link(Loop& loop) noexcept;
  void unlink(Loop& loop) noexcept;

  std::mutex mutex_;  // guards everything below and the bookkeeping of each Loop
  std::condition_variable work_available_;
  Loop* first_ =
      nullptr;  // loops that may still have chunks to hand out, linked in order of arrival
  Loop* last_ = nullptr;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace instseg
