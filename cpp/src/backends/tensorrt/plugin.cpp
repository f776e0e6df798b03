// The C interface of the TensorRT backends.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "backends/plugin_api.h"
#include "backends/plugin_status.hpp"
#include "backends/tensorrt/cuda_gpu.hpp"
#include "backends/tensorrt/tensorrt_engine.hpp"
#include "backends/tensorrt/tensorrt_session.hpp"

namespace {

using instseg::guarded;
using instseg::StatusError;
using namespace instseg::tensorrt_backend;

std::unique_ptr<Engine> load(const instseg_session_options& options) {
  if (options.engine_path == nullptr) {
    throw StatusError(INSTSEG_STATUS_INCOMPATIBLE_ENGINE,
                      "it runs engines, and was given none: build one with instseg-export");
  }
  return load_engine(options.engine_path, options.plan_offset, options.plan_bytes);
}

LaneRegistry& lanes() {
  static LaneRegistry registry;
  return registry;
}

}  // namespace

struct instseg_session {
  explicit instseg_session(const instseg_session_options& options)
      : device(device_index(options.device)) {
    (void)describe_device(device);
    const DeviceScope scope(device);
    session = std::make_unique<TensorRtSession>(std::make_shared<CudaGpu>(), load(options),
                                                options.leading_batch != 0);
  }

  void release() { session.reset(); }

  int device;
  std::unique_ptr<TensorRtSession> session;
};

struct instseg_context {
  instseg_context(instseg_session& owner, std::uint64_t group)
      : device(owner.device),
        context(std::make_unique<TensorRtContext>(
            *owner.session, lanes().find(group, owner.device, owner.session->gpu()))) {}

  void release() { context.reset(); }

  int device;
  std::unique_ptr<TensorRtContext> context;
};

namespace {

// Destroys on the handle's GPU. Without a driver at the end of the process, nothing can be freed.
template <class Handle>
void destroy(Handle* handle) noexcept {
  const std::unique_ptr<Handle> owned(handle);
  if (owned == nullptr) {
    return;
  }
  instseg_message ignored{nullptr, 0};
  (void)guarded(&ignored, [&] {
    const DeviceScope scope(owned->device);
    owned->release();
  });
}

std::int32_t supports_device(const char* device) {
  return std::strncmp(device, "gpu:", 4) == 0 ? 1 : 0;
}

std::int32_t device_describe(const char* device, instseg_device_info* info,
                             instseg_message* message) {
  return guarded(message, [&] {
    const instseg_device_info found = describe_device(device_index(device));
    const std::size_t size = std::min(info->struct_size, sizeof(found));
    std::memcpy(info, &found, size);
    info->struct_size = size;
  });
}

std::int32_t session_create(const char*, const instseg_session_options* options,
                            instseg_session** session, instseg_message* message) {
  return guarded(message, [&] {
    if (options->struct_size < sizeof(instseg_session_options)) {
      throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT, "session options of an older library");
    }
    *session = std::make_unique<instseg_session>(*options).release();  // to session_destroy
  });
}

void session_destroy(instseg_session* session) { destroy(session); }

std::int32_t session_inputs(const instseg_session* session, const instseg_tensor** tensors,
                            std::size_t* count) {
  *tensors = session->session->input_tensors().data();
  *count = session->session->input_tensors().size();
  return INSTSEG_STATUS_OK;
}

std::int32_t session_outputs(const instseg_session* session, const instseg_tensor** tensors,
                             std::size_t* count) {
  *tensors = session->session->output_tensors().data();
  *count = session->session->output_tensors().size();
  return INSTSEG_STATUS_OK;
}

std::int32_t session_statistics(const instseg_session* session, instseg_statistics* statistics) {
  instseg_statistics found{};
  session->session->read_statistics(found);
  const std::size_t size = std::min(statistics->struct_size, sizeof(found));
  std::memcpy(statistics, &found, size);
  statistics->struct_size = size;
  return INSTSEG_STATUS_OK;
}

std::int32_t context_create(instseg_session* session, const instseg_context_options* options,
                            instseg_context** context, instseg_message* message) {
  return guarded(message, [&] {
    const DeviceScope scope(session->device);
    // Released by context_destroy.
    *context = std::make_unique<instseg_context>(*session, options->group).release();
  });
}

void context_destroy(instseg_context* context) { destroy(context); }

std::int32_t context_run(instseg_context* context, const instseg_memory* inputs,
                         instseg_memory* outputs, instseg_message* message) {
  return guarded(message, [&] {
    const DeviceScope scope(context->device);
    context->context->run(inputs, outputs);
  });
}

std::int32_t context_enqueue(instseg_context* context, const instseg_memory* inputs,
                             instseg_memory* outputs, instseg_message* message) {
  return guarded(message, [&] {
    const DeviceScope scope(context->device);
    context->context->enqueue(inputs, outputs);
  });
}

void* context_stream(const instseg_context* context) { return context->context->stream(); }

}  // namespace

extern "C" const instseg_backend* instseg_backend_entry(uint32_t abi_version) {
  static const std::string version = library_version();
  static const instseg_backend backend{INSTSEG_BACKEND_ABI_VERSION,
                                       sizeof(instseg_backend),
                                       backend_name(),
                                       version.c_str(),
                                       supports_device,
                                       session_create,
                                       session_destroy,
                                       session_inputs,
                                       session_outputs,
                                       context_create,
                                       context_destroy,
                                       context_run,
                                       INSTSEG_FEATURE_NEEDS_ENGINE | INSTSEG_FEATURE_DEVICE_MEMORY,
                                       device_describe,
                                       session_statistics,
                                       context_enqueue,
                                       context_stream,
                                       nullptr};
  return abi_version == INSTSEG_BACKEND_ABI_VERSION ? &backend : nullptr;
}
