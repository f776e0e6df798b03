// Runs kernels on the GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "backends/plugin_status.hpp"
#include "cuda/execution/block.hpp"

namespace instseg::cuda {

// Throws StatusError, which names the call, unless `error` is cudaSuccess.
void check_cuda(cudaError_t error, const char* call);

// CUB's sum and sort (primitives.cu), as HostExecutor says. With `scratch` null only `bytes` is
// set.
void device_exclusive_sum(void* scratch, std::size_t& bytes, const std::int64_t* in,
                          std::int64_t* out, std::int64_t count, cudaStream_t stream);
void device_sort_rows(void* scratch, std::size_t& bytes, const std::uint64_t* in,
                      std::uint64_t* out, std::int64_t segments, std::int64_t items,
                      const std::int64_t* offsets, cudaStream_t stream);

struct DeviceWarp {
  static constexpr unsigned kAll = 0xFFFFFFFFU;
  int index;

  template <class Test>
  __device__ std::uint32_t ballot(Test&& test) const {
    return __ballot_sync(kAll, test(static_cast<int>(threadIdx.x % kWarp)));
  }
  template <class Value>
  __device__ auto sum(Value&& value) const {
    auto result = value(static_cast<int>(threadIdx.x % kWarp));
    for (int step = kWarp / 2; step > 0; step /= 2) {
      result += __shfl_down_sync(kAll, result, step);
    }
    return __shfl_sync(kAll, result, 0);
  }
  template <class F>
  __device__ void first(F&& f) const {
    if (threadIdx.x % kWarp == 0) {
      f();
    }
  }
};

template <class T>
struct DeviceLocal {
  T value{};
  __device__ T& operator[](int) { return value; }
};

struct DeviceBlock {
  int x = static_cast<int>(blockIdx.x);
  int y = static_cast<int>(blockIdx.y);
  int z = static_cast<int>(blockIdx.z);
  int grid_x = static_cast<int>(gridDim.x);
  int grid_y = static_cast<int>(gridDim.y);
  int threads = static_cast<int>(blockDim.x);

  template <class F>
  __device__ void each(F&& f) const {
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  template <class F>
  __device__ void each_warp(F&& f) const {
    f(DeviceWarp{static_cast<int>(threadIdx.x / kWarp)});
    __syncthreads();
  }
  template <class T>
  __device__ T uniform(const T& value) const {
    const T copy = value;
    __syncthreads();
    return copy;
  }
  template <class T>
  __device__ DeviceLocal<T> local() const {
    return {};
  }

  template <class T>
  __device__ T add(T& target, T value) const {
    return atomicAdd(&target, value);
  }
  __device__ void set_bits(std::uint32_t& target, std::uint32_t bits) const {
    atomicOr(&target, bits);
  }
  __device__ void lower(int& target, int value) const { atomicMin(&target, value); }
  __device__ void raise(int& target, int value) const { atomicMax(&target, value); }
};

template <class Body>
__global__ void __launch_bounds__(Body::kThreads) run_body(const __grid_constant__ Body body) {
  __shared__ typename Body::Shared shared;
  body(DeviceBlock{}, shared);
}

class DeviceExecutor {
 public:
  explicit DeviceExecutor(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}

  template <class Body>
  void launch(const char* name, const Grid& grid, const Body& body) {
    static_assert(std::is_trivially_copyable_v<Body> && sizeof(Body) <= 4096);
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
      return;
    }
    if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535) {
      throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT,
                        std::string(name) +
                            ": more than 65535 blocks along y or z; use fewer "
                            "entries in one call");
    }
    run_body<Body><<<dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                          static_cast<unsigned>(grid.z)),
                     Body::kThreads, 0, stream_>>>(body);
    check_cuda(cudaGetLastError(), name);
  }

  static std::size_t sum_bytes(std::int64_t count) {
    std::size_t bytes = 0;
    device_exclusive_sum(nullptr, bytes, nullptr, nullptr, count, nullptr);
    return bytes;
  }
  static std::size_t sort_bytes(std::int64_t segments, std::int64_t items) {
    std::size_t bytes = 0;
    device_sort_rows(nullptr, bytes, nullptr, nullptr, segments, items, nullptr, nullptr);
    return bytes;
  }
  void exclusive_sum(const std::int64_t* in, std::int64_t* out, std::int64_t count, void* scratch,
                     std::size_t bytes) {
    device_exclusive_sum(scratch, bytes, in, out, count, stream_);
  }
  void sort_rows(const std::uint64_t* in, std::uint64_t* out, std::int64_t segments,
                 std::int64_t items, const std::int64_t* offsets, void* scratch,
                 std::size_t bytes) {
    device_sort_rows(scratch, bytes, in, out, segments, items, offsets, stream_);
  }

 private:
  cudaStream_t stream_;
};

}  // namespace instseg::cuda
