#include "device/gpu_backend.hpp"

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <vector>

#include "backends/backend.hpp"
#include "backends/plugin_status.hpp"
#include "device/cuda_queue.hpp"
#include "instseg/error.hpp"
#include "support/testing.hpp"

namespace instseg::testing_device {
namespace {

HostGpu* host_gpu = nullptr;

struct Inner {
  std::shared_ptr<const Backend> backend;
  std::shared_ptr<const CudaOps> ops;
};

Inner& inner() {
  static Inner instance;
  return instance;
}

const instseg_backend& openvino() { return inner().backend->functions(); }

// What an instseg_context of this backend points to.
struct Context {
  instseg_session* session;
  instseg_context* running;
  std::shared_ptr<void> stream;
  std::vector<CudaMemory> memory;  // of the outputs
};

// One for all contexts of a group.
std::shared_ptr<void> stream_of(std::uint64_t group) {
  static std::mutex mutex;
  static std::map<std::uint64_t, std::weak_ptr<void>> streams;
  const std::lock_guard lock(mutex);
  std::shared_ptr<void> stream = group == 0 ? nullptr : streams[group].lock();
  if (!stream) {
    PluginMessage message;
    void* made = nullptr;
    (void)inner().ops->table().stream_create(&made, message.get());
    stream = {made, [](void* old) {
                PluginMessage ignored;
                (void)inner().ops->table().stream_destroy(old, ignored.get());
              }};
    streams[group] = stream;
  }
  return stream;
}

Context& unwrap(instseg_context* context) { return *reinterpret_cast<Context*>(context); }

std::size_t bytes_of(const instseg_memory& memory) {
  return static_cast<std::size_t>(std::accumulate(memory.shape, memory.shape + memory.rank,
                                                  std::int64_t{1}, std::multiplies<>())) *
         sizeof(float);
}

std::int32_t session_create(const char* path, const instseg_session_options* options,
                            instseg_session** session, instseg_message* message) {
  instseg_session_options on_cpu = *options;
  on_cpu.device = "cpu";
  return openvino().session_create(path, &on_cpu, session, message);
}

std::int32_t context_create(instseg_session* session, const instseg_context_options* options,
                            instseg_context** context, instseg_message* message) {
  auto made = std::make_unique<Context>();
  made->session = session;
  if (const std::int32_t status =
          openvino().context_create(session, options, &made->running, message);
      status != INSTSEG_STATUS_OK) {
    return status;
  }
  const instseg_tensor* outputs = nullptr;
  std::size_t count = 0;
  openvino().session_outputs(session, &outputs, &count);
  for (std::size_t i = 0; i < count; ++i) {
    made->memory.emplace_back(CudaDevice{inner().ops, 0}, CudaPlace::device);
  }
  made->stream = stream_of(options->group);
  *context = reinterpret_cast<instseg_context*>(made.release());
  return INSTSEG_STATUS_OK;
}

void context_destroy(instseg_context* context) {
  const std::unique_ptr<Context> owned{&unwrap(context)};
  openvino().context_destroy(owned->running);
}

std::int32_t context_run(instseg_context* context, const instseg_memory* inputs,
                         instseg_memory* outputs, instseg_message* message) {
  return openvino().context_run(unwrap(context).running, inputs, outputs, message);
}

// With inputs and outputs on the GPU.
std::int32_t context_enqueue(instseg_context* context, const instseg_memory* inputs,
                             instseg_memory* outputs, instseg_message* message) {
  Context& own = unwrap(context);
  std::vector<instseg_memory> found(own.memory.size());
  host_gpu->enter();
  const std::int32_t status = openvino().context_run(own.running, inputs, found.data(), message);
  for (std::size_t i = 0; status == INSTSEG_STATUS_OK && i < found.size(); ++i) {
    outputs[i] = found[i];
    outputs[i].kind = INSTSEG_DEVICE_MEMORY;
    outputs[i].data = own.memory[i].reserve(bytes_of(found[i]));
    std::memcpy(outputs[i].data, found[i].data, bytes_of(found[i]));
  }
  host_gpu->leave();
  return status;
}

instseg_backend make_backend() {
  instseg_backend made = openvino();
  made.name = kGpuBackend;
  made.supports_device = [](const char* device) {
    return std::strncmp(device, "gpu:", 4) == 0 ? 1 : 0;
  };
  made.session_create = session_create;
  made.context_create = context_create;
  made.context_destroy = context_destroy;
  made.context_run = context_run;
  made.features = INSTSEG_FEATURE_DEVICE_MEMORY;
  made.device_describe = nullptr;
  made.session_statistics = nullptr;
  made.context_enqueue = context_enqueue;
  made.context_stream = [](const instseg_context* context) {
    return reinterpret_cast<const Context*>(context)->stream.get();
  };
  return made;
}

}  // namespace

const instseg_backend& gpu_backend() {
  static const instseg_backend backend = make_backend();
  return backend;
}

HostGpu* find_gpu(std::string& reason) {
  if (host_gpu != nullptr) {
    return host_gpu;
  }
  const std::string library = testing::environment("INSTSEG_CUDA_LIBRARY");
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  using Show = HostGpu* (*)();
  const auto show = library.empty() || handle == nullptr
                        ? nullptr
                        : reinterpret_cast<Show>(dlsym(handle, "instseg_test_host_gpu"));
  if (show == nullptr) {
    reason = "run by ctest, which sets INSTSEG_CUDA_LIBRARY";
    return nullptr;
  }
  try {
    inner() = {load_backend("openvino", "cpu"), load_cuda_ops()};
  } catch (const Error& error) {
    reason = error.what();
    return nullptr;
  }
  host_gpu = show();
  return host_gpu;
}

HostGpu* start_gpu(std::string& reason) {
  HostGpu* const found = find_gpu(reason);
  if (found != nullptr) {
    static const bool registered = (register_backend(gpu_backend()), true);
    (void)registered;
  }
  return found;
}

}  // namespace instseg::testing_device
