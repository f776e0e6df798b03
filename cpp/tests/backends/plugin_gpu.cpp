// A backend of GPUs, under the name INSTSEG_TEST_PLUGIN_NAME, that has none: for the choice among
// several, and for what is said where no GPU can be used.
#include <cstring>

#include "backends/plugin_api.h"
#include "backends/plugin_status.hpp"

namespace {

std::int32_t supports_device(const char* device) {
  return std::strncmp(device, "gpu:", 4) == 0 ? 1 : 0;
}

std::int32_t device_describe(const char*, instseg_device_info*, instseg_message* message) {
  instseg::write_message(message, "no driver is loaded");
  return INSTSEG_STATUS_UNSUPPORTED;
}

}  // namespace

extern "C" const instseg_backend* instseg_backend_entry(uint32_t) {
  static const instseg_backend backend = [] {
    instseg_backend made{};
    made.abi_version = INSTSEG_BACKEND_ABI_VERSION;
    made.struct_size = sizeof(instseg_backend);
    made.name = INSTSEG_TEST_PLUGIN_NAME;
    made.version = "1.2.3.4";
    made.supports_device = supports_device;
    made.features = INSTSEG_FEATURE_NEEDS_ENGINE;
    made.device_describe = device_describe;
    return made;
  }();
  return &backend;
}
