#include "core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>
#include <system_error>

#include "instseg/error.hpp"

namespace instseg {

namespace {

// Unsigned, as the distance can leave the range of the signed type.
std::int64_t chunk_end_of(std::int64_t chunk, std::int64_t end, std::int64_t grain) {
  const std::uint64_t left = static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(chunk);
  return left <= static_cast<std::uint64_t>(grain) ? end : chunk + grain;
}

}  // namespace

// Lives on the stack of the caller, who leaves only when no worker holds it any more.
struct ThreadPool::Loop {
  Loop(std::int64_t begin, std::int64_t loop_end, std::int64_t loop_grain, void* loop_body,
       ErasedBody loop_call)
      : next(begin), end(loop_end), grain(loop_grain), body(loop_body), call(loop_call) {}

  std::atomic<std::int64_t> next;
  const std::int64_t end;
  const std::int64_t grain;
  void* const body;
  const ErasedBody call;

  // Guarded by the pool's mutex.
  Loop* previous_loop = nullptr;
  Loop* next_loop = nullptr;
  bool linked = false;
  int workers = 0;  // how many are inside drain()
  std::condition_variable workers_left;
  std::exception_ptr failure;

  void drain(std::mutex& mutex) noexcept {
    try {
      std::int64_t chunk = next.load(std::memory_order_relaxed);
      while (chunk < end) {
        const std::int64_t chunk_end = chunk_end_of(chunk, end, grain);
        if (next.compare_exchange_weak(chunk, chunk_end, std::memory_order_relaxed)) {
          call(body, chunk, chunk_end);
          chunk = next.load(std::memory_order_relaxed);
        }
      }
    } catch (...) {
      next.store(end, std::memory_order_relaxed);
      const std::scoped_lock lock(mutex);
      if (!failure) {
        failure = std::current_exception();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) {
  if (threads < 1 || threads > kMaxThreads) {
    throw Error(ErrorCode::invalid_argument, "thread pool: " + std::to_string(threads) +
                                                 " threads, expected 1 to " +
                                                 std::to_string(kMaxThreads));
  }
  try {
    workers_.reserve(static_cast<std::size_t>(threads - 1));
    for (int i = 1; i < threads; ++i) {
      workers_.emplace_back([this] { work(); });
    }
  } catch (const std::system_error& error) {
    stop();
    throw Error(ErrorCode::out_of_memory,
                "thread pool: thread " + std::to_string(workers_.size() + 2) + " of " +
                    std::to_string(threads) + " could not be started: " + error.what());
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_available_.notify_all();
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

void ThreadPool::run(std::int64_t begin, std::int64_t end, std::int64_t grain, void* body,
                     ErasedBody call) {
  if (begin >= end) {
    return;
  }
  grain = std::max<std::int64_t>(grain, 1);
  if (workers_.empty() || chunk_end_of(begin, end, grain) == end) {
    for (std::int64_t chunk = begin; chunk < end;) {
      const std::int64_t chunk_end = chunk_end_of(chunk, end, grain);
      call(body, chunk, chunk_end);
      chunk = chunk_end;
    }
    return;
  }

  Loop loop(begin, end, grain, body, call);
  {
    const std::scoped_lock lock(mutex_);
    link(loop);
  }
  work_available_.notify_all();
  loop.drain(mutex_);
  {
    std::unique_lock lock(mutex_);
    unlink(loop);
    loop.workers_left.wait(lock, [&loop] { return loop.workers == 0; });
  }
  if (loop.failure) {
    std::rethrow_exception(loop.failure);
  }
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_available_.wait(lock, [this] { return stopping_ || first_ != nullptr; });
    if (stopping_) {
      return;
    }
    Loop& loop = *first_;
    ++loop.workers;
    lock.unlock();
    loop.drain(mutex_);
    lock.lock();
    unlink(loop);  // no chunk is left to hand out
    if (--loop.workers == 0) {
      // Under the lock: as soon as it is free, the caller may destroy the loop.
      loop.workers_left.notify_one();
    }
  }
}

void ThreadPool::link(Loop& loop) noexcept {
  loop.previous_loop = last_;
  (last_ == nullptr ? first_ : last_->next_loop) = &loop;
  last_ = &loop;
  loop.linked = true;
}

void ThreadPool::unlink(Loop& loop) noexcept {
  if (!loop.linked) {
    return;
  }
  (loop.previous_loop == nullptr ? first_ : loop.previous_loop->next_loop) = loop.next_loop;
  (loop.next_loop == nullptr ? last_ : loop.next_loop->previous_loop) = loop.previous_loop;
  loop.linked = false;
}

}  // namespace instseg
