// Memory of a GPU and work on one of its streams, through the table of CUDA ops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backends/plugin_call.hpp"
#include "device/cuda_ops.hpp"

namespace instseg {

// A GPU with its ops. A value: copies mean the same.
struct CudaDevice {
  std::shared_ptr<const CudaOps> ops;
  int index = 0;

  // Makes it the GPU of the calling thread.
  void select() const;
  // The GPU whose memory holds that address; -1: none.
  [[nodiscard]] int owner_of(const void* address) const;
};

// Throws Error, which names the function of the table, unless `status` is that of success.
void check_call(const char* name, std::int32_t status, const PluginMessage& message);

enum class CudaPlace { device, pinned_host };

// Memory that grows, never shrinks; growing loses the contents. Aligned to 256 bytes.
class CudaMemory {
 public:
  CudaMemory(const CudaDevice& device, CudaPlace place) : data_(nullptr, {device.ops, place}) {}

  // At least `bytes`. Nothing on a stream may still use the memory when it grows. Throws
  // Error(out_of_memory).
  std::byte* reserve(std::size_t bytes);
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  struct Release {
    std::shared_ptr<const CudaOps> ops;
    CudaPlace place;
    void operator()(std::byte* data) const noexcept;
  };

  std::unique_ptr<std::byte, Release> data_;
  std::size_t capacity_ = 0;
};

// A stream of its own.
class CudaStream {
 public:
  // Of the calling thread's GPU, which is `device`.
  explicit CudaStream(const CudaDevice& device);
  [[nodiscard]] void* get() const noexcept { return stream_.get(); }

 private:
  struct Destroy {
    std::shared_ptr<const CudaOps> ops;
    void operator()(void* stream) const noexcept;
  };

  std::unique_ptr<void, Destroy> stream_;
};

template <class Arguments>
using CudaOp = std::int32_t (*)(const Arguments*, instseg_cuda_workspace*, void*, instseg_message*);

// Puts work on a stream and keeps the workspace that ops need. Used by one thread at a time. Every
// function throws Error that names the call.
class CudaQueue {
 public:
  // `stream` (a cudaStream_t) belongs to another, and outlives the queue.
  CudaQueue(CudaDevice device, void* stream)
      : device_(std::move(device)), stream_(stream), workspace_(device_, CudaPlace::device) {}

  // Makes the GPU that of the calling thread; before all others, in each thread.
  void select() const { device_.select(); }

  // name: of the op, as in the table.
  template <class Arguments>
  void run(const char* name, CudaOp<Arguments> instseg_cuda_ops::* op, const Arguments& arguments) {
    PluginMessage message;
    instseg_cuda_workspace memory{nullptr, 0};
    const CudaOp<Arguments> function = device_.ops->table().*op;
    check_call(name, function(&arguments, &memory, stream_, message.get()), message);
    memory.data = workspace(memory.size);
    check_call(name, function(&arguments, &memory, stream_, message.get()), message);
  }

  // What is put on the queue from now on begins when all that was put on `other`, a stream of the
  // same GPU, is done. Does not wait.
  void follow(void* other) const;

  // The other way round.
  void lead(void* other) const;

  // Between host and GPU, either way, or within the GPU.
  void copy(void* target, const void* source, std::size_t bytes) const;

  // Waits for all that was put on the stream.
  void wait() const;

  // As wait, for when an error is on its way already.
  void abandon() const noexcept;

 private:
  void* workspace(std::size_t bytes);

  CudaDevice device_;
  void* stream_;
  CudaMemory workspace_;
};

}  // namespace instseg
