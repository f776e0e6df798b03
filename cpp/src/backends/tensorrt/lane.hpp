// A stream and the temporary memory of what runs on it. Contexts of one group share a lane: one
// after the other, their work cannot meet.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "backends/tensorrt/gpu_memory.hpp"

namespace instseg::tensorrt_backend {

class Lane {
 public:
  explicit Lane(std::shared_ptr<Gpu> gpu)
      : gpu_(std::move(gpu)),
        stream_(gpu_->create_stream()),
        scratch_(*gpu_, GpuMemory::Kind::device, scratch_bytes_) {}
  ~Lane() { gpu_->destroy_stream(stream_); }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  [[nodiscard]] Gpu& gpu() const noexcept { return *gpu_; }
  [[nodiscard]] Stream stream() const noexcept { return stream_; }
  // May move with reserve_scratch: who has handed the address on compares it before each run.
  [[nodiscard]] void* scratch() const noexcept { return scratch_.data(); }
  [[nodiscard]] std::size_t scratch_bytes() const noexcept { return scratch_.bytes(); }

  void reserve_scratch(std::size_t bytes) {
    if (bytes > scratch_.bytes()) {
      gpu_->synchronize(stream_);
      scratch_.reserve(bytes);
    }
  }

 private:
  std::shared_ptr<Gpu> gpu_;
  Stream stream_;
  GpuMemory::Counter scratch_bytes_{0};
  GpuMemory scratch_;
};

// The lanes of groups, as long as a context uses them. Safe to use from many threads.
class LaneRegistry {
 public:
  // The group's lane on this GPU, `device` in number; of group 0 a new one.
  std::shared_ptr<Lane> find(std::uint64_t group, int device, const std::shared_ptr<Gpu>& gpu) {
    if (group == 0) {
      return std::make_shared<Lane>(gpu);
    }
    const std::lock_guard lock(mutex_);
    std::erase_if(lanes_, [](const auto& entry) { return entry.second.expired(); });
    std::weak_ptr<Lane>& slot = lanes_[{group, device}];
    std::shared_ptr<Lane> lane = slot.lock();
    if (!lane) {
      lane = std::make_shared<Lane>(gpu);
      slot = lane;
    }
    return lane;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::uint64_t, int>, std::weak_ptr<Lane>> lanes_;
};

}  // namespace instseg::tensorrt_backend
