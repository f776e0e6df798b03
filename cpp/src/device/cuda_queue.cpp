#include "device/cuda_queue.hpp"

#include <algorithm>

namespace instseg {

void check_call(const char* name, std::int32_t status, const PluginMessage& message) {
  if (status != INSTSEG_STATUS_OK) {
    throw Error(error_code(status),
                std::string("CUDA op '") + name + "' failed: " + message.text());
  }
}

void CudaDevice::select() const {
  PluginMessage message;
  check_call("set_device", ops->table().set_device(index, message.get()), message);
}

int CudaDevice::owner_of(const void* address) const {
  PluginMessage message;
  std::int32_t found = -1;
  check_call("memory_device", ops->table().memory_device(address, &found, message.get()), message);
  return found;
}

void CudaMemory::Release::operator()(std::byte* data) const noexcept {
  PluginMessage message;  // nobody is left to tell
  (void)ops->table().release(data, place == CudaPlace::pinned_host ? 1 : 0, message.get());
}

std::byte* CudaMemory::reserve(std::size_t bytes) {
  if (bytes <= capacity_) {
    return data_.get();
  }
  // More than asked for, so that sizes that rise slowly do not cost an allocation each.
  const std::size_t wanted = std::max(bytes, capacity_ + capacity_ / 2);
  data_.reset();
  capacity_ = 0;
  const bool pinned = data_.get_deleter().place == CudaPlace::pinned_host;
  PluginMessage message;
  void* data = nullptr;
  const std::int32_t status =
      data_.get_deleter().ops->table().allocate(wanted, pinned ? 1 : 0, &data, message.get());
  if (status != INSTSEG_STATUS_OK) {
    throw Error(error_code(status), "cannot allocate " + std::to_string(wanted) + " bytes of " +
                                        (pinned ? "page-locked memory" : "the GPU's memory") +
                                        ": " + message.text());
  }
  data_.reset(static_cast<std::byte*>(data));
  capacity_ = wanted;
  return data_.get();
}

CudaStream::CudaStream(const CudaDevice& device) : stream_(nullptr, {device.ops}) {
  PluginMessage message;
  void* made = nullptr;
  check_call("stream_create", device.ops->table().stream_create(&made, message.get()), message);
  stream_.reset(made);
}

void CudaStream::Destroy::operator()(void* stream) const noexcept {
  PluginMessage message;  // nobody is left to tell
  (void)ops->table().stream_destroy(stream, message.get());
}

void CudaQueue::follow(void* other) const {
  PluginMessage message;
  check_call("stream_follow", device_.ops->table().stream_follow(stream_, other, message.get()),
             message);
}

void CudaQueue::lead(void* other) const {
  PluginMessage message;
  check_call("stream_follow", device_.ops->table().stream_follow(other, stream_, message.get()),
             message);
}

void CudaQueue::copy(void* target, const void* source, std::size_t bytes) const {
  PluginMessage message;
  check_call("copy", device_.ops->table().copy(target, source, bytes, stream_, message.get()),
             message);
}

void CudaQueue::wait() const {
  PluginMessage message;
  check_call("stream_wait", device_.ops->table().stream_wait(stream_, message.get()), message);
}

void CudaQueue::abandon() const noexcept {
  PluginMessage message;  // the first error is the one to tell
  (void)device_.ops->table().stream_wait(stream_, message.get());
}

void* CudaQueue::workspace(std::size_t bytes) {
  if (bytes > workspace_.capacity()) {
    wait();  // an op before this one may still use the smaller one
  }
  return workspace_.reserve(bytes);
}

}  // namespace instseg
