// Memory for the intermediate values of the plug-in's own convolutions.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/buffer.hpp"

namespace instseg::winograd {

struct Scratch {
  FloatBuffer transformed;
  FloatBuffer products;
  AlignedBuffer<std::uint16_t> pieces;
};

// Kept from use to use, as many as were ever in use at the same time. Of the process, not of a
// thread: callers may come with hundreds of threads, and few of them compute at a time.
class ScratchPool {
 public:
  // In use until its end.
  class Lease {
   public:
    explicit Lease(ScratchPool& pool) : pool_(pool), scratch_(pool.take()) {}
    ~Lease() { pool_.give_back(std::move(scratch_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    Scratch* operator->() const noexcept { return scratch_.get(); }
    Scratch& operator*() const noexcept { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<Scratch> scratch_;
  };

  static ScratchPool& of_process() {
    static ScratchPool pool;
    return pool;
  }

 private:
  std::unique_ptr<Scratch> take() {
    const std::scoped_lock lock(mutex_);
    if (free_.empty()) {
      free_.reserve(++made_);  // so that giving back cannot fail
      return std::make_unique<Scratch>();
    }
    std::unique_ptr<Scratch> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }

  void give_back(std::unique_ptr<Scratch> scratch) noexcept {
    const std::scoped_lock lock(mutex_);
    free_.push_back(std::move(scratch));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
  std::size_t made_ = 0;
};

}  // namespace instseg::winograd
