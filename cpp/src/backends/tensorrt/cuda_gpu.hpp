// The Gpu of the CUDA runtime.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "backends/plugin_api.h"
#include "backends/tensorrt/engine.hpp"

namespace instseg::tensorrt_backend {

// Throws StatusError, OUT_OF_MEMORY or BACKEND, that names the call and CUDA's reason.
void check_cuda(cudaError_t result, const char* call);

// Position of "gpu:<position>". Throws StatusError(INVALID_ARGUMENT) for other text.
int device_index(const std::string& device);

// Throws StatusError(UNSUPPORTED) where there is no driver, or no GPU at this position.
instseg_device_info describe_device(int index);

// Makes a GPU that of the calling thread, and puts the one before back at its end: the thread is
// the caller's.
class DeviceScope {
 public:
  explicit DeviceScope(int index);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
};

// What is called here happens on the thread's GPU: a DeviceScope goes around all of it.
class CudaGpu final : public Gpu {
 public:
  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void* allocate_pinned(std::size_t bytes) override;
  void release_pinned(void* memory) noexcept override;
  Stream create_stream() override;
  void destroy_stream(Stream stream) noexcept override;
  void synchronize(Stream stream) override;
  void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) override;
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) override;
  void begin_capture(Stream stream) override;
  Graph end_capture(Stream stream) override;
  void abort_capture(Stream stream) noexcept override;
  void launch(Graph graph, Stream stream) override;
  void destroy_graph(Graph graph) noexcept override;
};

}  // namespace instseg::tensorrt_backend
