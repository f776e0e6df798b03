// The C interface of the OpenVINO backend.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "backends/openvino/openvino_context.hpp"
#include "backends/openvino/split/kernels.hpp"
#include "backends/openvino/winograd/kernels.hpp"
#include "backends/plugin_api.h"
#include "backends/plugin_status.hpp"

using instseg::guarded;
using instseg::StatusError;
using instseg::openvino_backend::OpenVinoContext;
using instseg::openvino_backend::OpenVinoSession;

struct instseg_session : OpenVinoSession {
  using OpenVinoSession::OpenVinoSession;
};

struct instseg_context : OpenVinoContext {
  using OpenVinoContext::OpenVinoContext;
};

namespace {

std::int32_t supports_device(const char* device) { return std::strcmp(device, "cpu") == 0 ? 1 : 0; }

std::int32_t favours_precision(const char* device, const char* precision) {
  try {
    return supports_device(device) != 0 && std::strcmp(precision, "bf16") == 0 &&
                   instseg::openvino_backend::computes_in(ov::element::bf16)
               ? 1
               : 0;
  } catch (const std::exception&) {  // a faulty installation, which session_create reports
    return 0;
  }
}

// Cut to fit, zero-terminated.
template <std::size_t size>
void write_text(char (&field)[size], std::string_view text) {
  field[text.copy(field, size - 1)] = '\0';
}

std::int32_t device_describe(const char* device, instseg_device_info* info,
                             instseg_message* message) {
  return guarded(message, [&] {
    if (supports_device(device) == 0) {
      throw StatusError(INSTSEG_STATUS_UNSUPPORTED, "it runs on \"cpu\"");
    }
    instseg_device_info found{};
    write_text(found.name, instseg::openvino_backend::processor_name());
    if (const auto* const kernels = instseg::winograd::find_kernels()) {
      const std::string vectors = kernels->instruction_set;
      const bool matrix_unit = instseg::split::find_kernels() != nullptr;
      write_text(found.runtime, matrix_unit ? vectors + " amx" : vectors);
    }
    const std::size_t size = std::min(info->struct_size, sizeof(found));
    std::memcpy(info, &found, size);
    info->struct_size = size;
  });
}

std::int32_t session_create(const char* path, const instseg_session_options* options,
                            instseg_session** session, instseg_message* message) {
  return guarded(message, [&] {
    if (options->struct_size < sizeof(instseg_session_options)) {
      throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT, "session options of an older library");
    }
    *session = std::make_unique<instseg_session>(path, *options).release();  // to session_destroy
  });
}

void session_destroy(instseg_session* session) { std::unique_ptr<instseg_session>{session}; }

std::int32_t session_inputs(const instseg_session* session, const instseg_tensor** tensors,
                            std::size_t* count) {
  *tensors = session->input_tensors().data();
  *count = session->input_tensors().size();
  return INSTSEG_STATUS_OK;
}

std::int32_t session_outputs(const instseg_session* session, const instseg_tensor** tensors,
                             std::size_t* count) {
  *tensors = session->output_tensors().data();
  *count = session->output_tensors().size();
  return INSTSEG_STATUS_OK;
}

std::int32_t context_create(instseg_session* session, const instseg_context_options*,
                            instseg_context** context, instseg_message* message) {
  return guarded(message, [&] {
    *context = std::make_unique<instseg_context>(*session).release();  // to context_destroy
  });
}

void context_destroy(instseg_context* context) { std::unique_ptr<instseg_context>{context}; }

std::int32_t context_run(instseg_context* context, const instseg_memory* inputs,
                         instseg_memory* outputs, instseg_message* message) {
  return guarded(message, [&] { context->run(inputs, outputs); });
}

}  // namespace

extern "C" const instseg_backend* instseg_backend_entry(uint32_t abi_version) {
  static const std::string version = ov::get_openvino_version().buildNumber;
  static const instseg_backend backend{INSTSEG_BACKEND_ABI_VERSION,
                                       sizeof(instseg_backend),
                                       "openvino",
                                       version.c_str(),
                                       supports_device,
                                       session_create,
                                       session_destroy,
                                       session_inputs,
                                       session_outputs,
                                       context_create,
                                       context_destroy,
                                       context_run,
                                       0,
                                       device_describe,
                                       nullptr,
                                       nullptr,
                                       nullptr,
                                       favours_precision};
  return abi_version == INSTSEG_BACKEND_ABI_VERSION ? &backend : nullptr;
}
