// Complete as far as the loader is concerned, but needs a library that the loader finds only with a
// hint.
#include "backends/plugin_api.h"

extern "C" int instseg_test_dependency();

namespace {
int32_t supports_device(const char*) { return instseg_test_dependency() == 1 ? 0 : 1; }
}  // namespace

extern "C" const instseg_backend* instseg_backend_entry(uint32_t) {
  static const instseg_backend backend = [] {
    instseg_backend complete{};
    complete.abi_version = INSTSEG_BACKEND_ABI_VERSION;
    complete.struct_size = sizeof(instseg_backend);
    complete.name = "missing_library";
    complete.version = "1.2.3";
    complete.supports_device = supports_device;
    return complete;
  }();
  return &backend;
}
