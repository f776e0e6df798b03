#include "backends/plugin_api.h"

extern "C" const instseg_backend* instseg_backend_entry(uint32_t) {
  static const instseg_backend backend = [] {
    instseg_backend other{};
    other.abi_version = INSTSEG_BACKEND_ABI_VERSION + 1;
    other.struct_size = sizeof(instseg_backend);
    return other;
  }();
  return &backend;
}
