// The contexts of a predictor: made when first needed, up to a limit, and kept.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace instseg {

// Safe to use from many threads.
template <class Context>
class ContextPool {
 public:
  // A context that is taken out of the pool, and goes back at the end of the lease's life.
  class Lease {
   public:
    Lease(ContextPool& pool, std::unique_ptr<Context> context)
        : pool_(&pool), context_(std::move(context)) {}
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (context_) {
        pool_->put_back(std::move(context_));
      }
    }
    Context& operator*() const noexcept { return *context_; }
    Context* operator->() const noexcept { return context_.get(); }

   private:
    ContextPool* pool_;
    std::unique_ptr<Context> context_;
  };

  ContextPool(int limit, std::function<std::unique_ptr<Context>()> create)
      : create_(std::move(create)), limit_(limit) {
    idle_.reserve(static_cast<std::size_t>(limit));
  }

  // Waits for a free context where as many as allowed are in use. Throws what `create` throws.
  Lease take() {
    std::unique_lock lock(mutex_);
    available_.wait(lock, [this] { return !idle_.empty() || created_ < limit_; });
    if (!idle_.empty()) {
      std::unique_ptr<Context> context = std::move(idle_.back());
      idle_.pop_back();
      return {*this, std::move(context)};
    }
    ++created_;
    lock.unlock();
    try {
      return {*this, create_()};
    } catch (...) {
      lock.lock();
      --created_;
      available_.notify_one();
      throw;
    }
  }

  // All contexts at once; the missing ones are created. One caller at a time, so that two do not
  // wait for each other.
  std::vector<Lease> take_all() {
    const std::lock_guard only(take_all_mutex_);
    std::vector<Lease> leases;
    leases.reserve(static_cast<std::size_t>(limit_));
    for (int i = 0; i < limit_; ++i) {
      leases.push_back(take());
    }
    return leases;
  }

 private:
  void put_back(std::unique_ptr<Context> context) noexcept {
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back(std::move(context));  // within the capacity reserved
    }
    available_.notify_one();
  }

  std::function<std::unique_ptr<Context>()> create_;
  const int limit_;
  std::mutex take_all_mutex_;
  std::mutex mutex_;  // guards idle_ and created_
  std::condition_variable available_;
  std::vector<std::unique_ptr<Context>> idle_;
  int created_ = 0;
};

}  // namespace instseg
