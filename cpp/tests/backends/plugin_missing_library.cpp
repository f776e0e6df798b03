// Complete as far as the loader is concerned, but needs a library that the loader finds only with a hint.
#include "backends/plugin_api.h"

extern "C" int instseg_test_dependency();

namespace {
int32_t supports_device(const char*) { return instseg_test_dependency() + 1 == 1 ? 1 : 0; }
}  // namespace

extern "C" const instseg_backend* instseg_backend_entry(uint32_t) {
  static const instseg_backend backend{INSTSEG_BACKEND_ABI_VERSION,
                                       sizeof(instseg_backend),
                                       "missing_library",
                                       "1.2.3",
                                       supports_device,
                                       nullptr,
                                       nullptr,
                                       nullptr,
                                       nullptr,
                                       nullptr,
                                       nullptr,
                                       nullptr};
  return &backend;
}
