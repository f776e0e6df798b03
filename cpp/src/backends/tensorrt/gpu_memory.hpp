// Owners of what a Gpu hands out, and of their sizes.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include "backends/tensorrt/engine.hpp"

namespace instseg::tensorrt_backend {

// Memory of a Gpu, on the device or pinned on the host. `counter` knows the bytes that all owners
// hold together; it outlives them.
class GpuMemory {
 public:
  enum class Kind { device, pinned };
  using Counter = std::atomic<std::uint64_t>;

  GpuMemory(Gpu& gpu, Kind kind, Counter& counter) : gpu_(&gpu), kind_(kind), counter_(&counter) {}
  GpuMemory(GpuMemory&& other) noexcept
      : gpu_(other.gpu_),
        kind_(other.kind_),
        counter_(other.counter_),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  GpuMemory& operator=(GpuMemory&&) = delete;
  ~GpuMemory() { release(); }

  // At least so many bytes; growing loses the contents. Nothing may use the memory meanwhile.
  void reserve(std::size_t bytes) {
    if (bytes <= bytes_) {
      return;
    }
    release();
    data_ = kind_ == Kind::device ? gpu_->allocate(bytes) : gpu_->allocate_pinned(bytes);
    bytes_ = bytes;
    *counter_ += bytes;
  }

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  void release() noexcept {
    if (data_ == nullptr) {
      return;
    }
    if (kind_ == Kind::device) {
      gpu_->release(data_);
    } else {
      gpu_->release_pinned(data_);
    }
    *counter_ -= bytes_;
    data_ = nullptr;
    bytes_ = 0;
  }

  Gpu* gpu_;
  Kind kind_;
  Counter* counter_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace instseg::tensorrt_backend
