#include "backends/tensorrt/cuda_gpu.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <span>

#include "backends/plugin_status.hpp"

namespace instseg::tensorrt_backend {
namespace {

cudaStream_t to_cuda(Stream stream) { return static_cast<cudaStream_t>(stream); }

// "13.0" of CUDA's 13000.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

void copy_text(const std::string& text, std::span<char> to) {
  const std::size_t length = std::min(text.size(), to.size() - 1);
  std::copy_n(text.data(), length, to.data());
  to[length] = '\0';
}

std::string memory_text(std::size_t bytes) { return std::to_string((bytes >> 20U) + 1) + " MiB"; }

// CUDA remembers the last error of a thread; this one has been reported.
void forget_error() { (void)cudaGetLastError(); }

}  // namespace

void check_cuda(cudaError_t result, const char* call) {
  if (result == cudaSuccess) {
    return;
  }
  forget_error();
  throw StatusError(
      result == cudaErrorMemoryAllocation ? INSTSEG_STATUS_OUT_OF_MEMORY : INSTSEG_STATUS_BACKEND,
      std::string(call) + ": " + cudaGetErrorString(result) + " (" + cudaGetErrorName(result) +
          ")");
}

int device_index(const std::string& device) {
  constexpr std::string_view kPrefix = "gpu:";
  const char* const end = device.data() + device.size();
  int index = -1;
  if (!device.starts_with(kPrefix) ||
      std::from_chars(device.data() + kPrefix.size(), end, index).ptr != end || index < 0) {
    throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT,
                      "device '" + device + "' is no GPU, expected gpu:<index>");
  }
  return index;
}

instseg_device_info describe_device(int index) {
  int driver = 0;
  int count = 0;
  (void)cudaDriverGetVersion(&driver);
  const cudaError_t result = cudaGetDeviceCount(&count);
  const std::string built_with = version_text(CUDART_VERSION);
  if (driver == 0) {
    forget_error();
    throw StatusError(INSTSEG_STATUS_UNSUPPORTED,
                      "no NVIDIA driver is loaded on this machine (libcuda.so.1); in a container, "
                      "it comes with the option --gpus all");
  }
  if (result == cudaErrorInsufficientDriver) {
    forget_error();
    throw StatusError(INSTSEG_STATUS_UNSUPPORTED, "the NVIDIA driver knows CUDA " +
                                                      version_text(driver) +
                                                      ", the plug-in was built with CUDA " +
                                                      built_with + ": install a newer driver");
  }
  if (result == cudaErrorNoDevice || (result == cudaSuccess && index >= count)) {
    forget_error();
    throw StatusError(INSTSEG_STATUS_UNSUPPORTED,
                      "there is no GPU " + std::to_string(index) + ": the driver shows " +
                          std::to_string(count) + " (CUDA_VISIBLE_DEVICES hides some)");
  }
  check_cuda(result, "cudaGetDeviceCount");
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  instseg_device_info info{};
  info.struct_size = sizeof(info);
  copy_text(properties.name, info.name);
  info.sm = properties.major * 10 + properties.minor;
  info.memory_bytes = properties.totalGlobalMem;
  copy_text(version_text(driver), info.driver);
  copy_text(built_with, info.runtime);
  return info;
}

DeviceScope::DeviceScope(int index) {
  check_cuda(cudaGetDevice(&before_), "cudaGetDevice");
  check_cuda(cudaSetDevice(index), "cudaSetDevice");
}

DeviceScope::~DeviceScope() { (void)cudaSetDevice(before_); }

void* CudaGpu::allocate(std::size_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, bytes), ("cudaMalloc of " + memory_text(bytes)).c_str());
  return memory;
}

void CudaGpu::release(void* memory) noexcept { (void)cudaFree(memory); }

void* CudaGpu::allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMallocHost(&memory, bytes), ("cudaMallocHost of " + memory_text(bytes)).c_str());
  return memory;
}

void CudaGpu::release_pinned(void* memory) noexcept { (void)cudaFreeHost(memory); }

Stream CudaGpu::create_stream() {
  cudaStream_t stream = nullptr;
  // Without waiting for the default stream, which other parts of the process may use.
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
             "cudaStreamCreateWithFlags");
  return stream;
}

void CudaGpu::destroy_stream(Stream stream) noexcept { (void)cudaStreamDestroy(to_cuda(stream)); }

void CudaGpu::synchronize(Stream stream) {
  check_cuda(cudaStreamSynchronize(to_cuda(stream)), "cudaStreamSynchronize");
}

void CudaGpu::copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, to_cuda(stream)),
             "cudaMemcpyAsync to the device");
}

void CudaGpu::copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, to_cuda(stream)),
             "cudaMemcpyAsync to the host");
}

void CudaGpu::begin_capture(Stream stream) {
  // Other threads may allocate meanwhile.
  check_cuda(cudaStreamBeginCapture(to_cuda(stream), cudaStreamCaptureModeThreadLocal),
             "cudaStreamBeginCapture");
}

Graph CudaGpu::end_capture(Stream stream) {
  cudaGraph_t captured = nullptr;
  check_cuda(cudaStreamEndCapture(to_cuda(stream), &captured), "cudaStreamEndCapture");
  struct Destroy {
    void operator()(cudaGraph_t graph) const { (void)cudaGraphDestroy(graph); }
  };
  const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, Destroy> owner(captured);
  cudaGraphExec_t executable = nullptr;
  check_cuda(cudaGraphInstantiate(&executable, captured, 0), "cudaGraphInstantiate");
  return executable;
}

void CudaGpu::abort_capture(Stream stream) noexcept {
  cudaGraph_t captured = nullptr;
  (void)cudaStreamEndCapture(to_cuda(stream), &captured);
  if (captured != nullptr) {
    (void)cudaGraphDestroy(captured);
  }
  forget_error();
}

void CudaGpu::launch(Graph graph, Stream stream) {
  check_cuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), to_cuda(stream)),
             "cudaGraphLaunch");
}

void CudaGpu::destroy_graph(Graph graph) noexcept {
  (void)cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

}  // namespace instseg::tensorrt_backend
