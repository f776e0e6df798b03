// The C entry of the library, and what it says and does about devices and memory.
#include <memory>
#include <type_traits>

#include "cuda/execution/call.hpp"
#include "cuda/execution/device.cuh"
#include "cuda/groups.hpp"

namespace instseg::cuda {
namespace {

// An event that is destroyed before its stream reaches it lives on until then.
struct DestroyEvent {
  void operator()(cudaEvent_t event) const noexcept { (void)cudaEventDestroy(event); }
};

std::int32_t device_count(std::int32_t* count, instseg_message* message) {
  return guarded(message, [&] {
    *count = 0;
    int found = 0;
    check_cuda(cudaGetDeviceCount(&found), "cudaGetDeviceCount");
    *count = found;
  });
}

std::int32_t describe_device(std::int32_t device, char* name, size_t size, std::int32_t* capability,
                             instseg_message* message) {
  return guarded(message, [&] {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    instseg_message text{name, size};
    write_message(&text, properties.name);
    *capability = properties.major * 10 + properties.minor;
  });
}

std::int32_t set_device(std::int32_t device, instseg_message* message) {
  return guarded(message, [&] { check_cuda(cudaSetDevice(device), "cudaSetDevice"); });
}

std::int32_t allocate(size_t bytes, std::int32_t on_host, void** data, instseg_message* message) {
  return guarded(message, [&] {
    *data = nullptr;
    if (on_host != 0) {
      check_cuda(cudaMallocHost(data, bytes), "cudaMallocHost");
    } else {
      check_cuda(cudaMalloc(data, bytes), "cudaMalloc");
    }
  });
}

std::int32_t release(void* data, std::int32_t on_host, instseg_message* message) {
  return guarded(message, [&] {
    if (on_host != 0) {
      check_cuda(cudaFreeHost(data), "cudaFreeHost");
    } else {
      check_cuda(cudaFree(data), "cudaFree");
    }
  });
}

std::int32_t stream_create(void** stream, instseg_message* message) {
  return guarded(message, [&] {
    cudaStream_t created = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking),
               "cudaStreamCreateWithFlags");
    *stream = created;
  });
}

std::int32_t stream_destroy(void* stream, instseg_message* message) {
  return guarded(message, [&] {
    check_cuda(cudaStreamDestroy(static_cast<cudaStream_t>(stream)), "cudaStreamDestroy");
  });
}

std::int32_t stream_wait(void* stream, instseg_message* message) {
  return guarded(message, [&] {
    check_cuda(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "cudaStreamSynchronize");
  });
}

std::int32_t stream_follow(void* stream, void* other, instseg_message* message) {
  return guarded(message, [&] {
    cudaEvent_t made = nullptr;
    check_cuda(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    const std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, DestroyEvent> event(made);
    check_cuda(cudaEventRecord(event.get(), static_cast<cudaStream_t>(other)), "cudaEventRecord");
    check_cuda(cudaStreamWaitEvent(static_cast<cudaStream_t>(stream), event.get(), 0),
               "cudaStreamWaitEvent");
  });
}

std::int32_t memory_device(const void* pointer, std::int32_t* device, instseg_message* message) {
  return guarded(message, [&] {
    *device = -1;
    cudaPointerAttributes attributes{};
    const cudaError_t error = cudaPointerGetAttributes(&attributes, pointer);
    if (error == cudaErrorInvalidValue) {
      (void)cudaGetLastError();  // no pointer that CUDA knows
      return;
    }
    check_cuda(error, "cudaPointerGetAttributes");
    if (attributes.type == cudaMemoryTypeDevice) {
      *device = attributes.device;
    } else if (attributes.type == cudaMemoryTypeManaged) {
      int current = 0;
      check_cuda(cudaGetDevice(&current), "cudaGetDevice");
      *device = current;
    }
  });
}

std::int32_t copy(void* target, const void* source, size_t bytes, void* stream,
                  instseg_message* message) {
  return guarded(message, [&] {
    check_cuda(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDefault,
                               static_cast<cudaStream_t>(stream)),
               "cudaMemcpyAsync");
  });
}

instseg_cuda_ops make_table() {
  instseg_cuda_ops ops{};
  ops.abi_version = INSTSEG_CUDA_ABI_VERSION;
  ops.struct_size = sizeof ops;
  ops.device_count = device_count;
  ops.describe_device = describe_device;
  ops.set_device = set_device;
  ops.allocate = allocate;
  ops.release = release;
  ops.stream_create = stream_create;
  ops.stream_destroy = stream_destroy;
  ops.stream_wait = stream_wait;
  ops.stream_follow = stream_follow;
  ops.memory_device = memory_device;
  ops.copy = copy;
  add_device_preprocess(ops);
  add_device_masks(ops);
  add_device_detections(ops);
  add_device_regions(ops);
  add_device_run_lengths(ops);
  add_device_unpack_masks(ops);
  add_device_solov2(ops);
  return ops;
}

}  // namespace
}  // namespace instseg::cuda

extern "C" const instseg_cuda_ops* instseg_cuda_entry(uint32_t abi_version) {
  static const instseg_cuda_ops table = instseg::cuda::make_table();
  return abi_version == INSTSEG_CUDA_ABI_VERSION ? &table : nullptr;
}
