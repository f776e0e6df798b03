#include "backends/plugin_api.h"

extern "C" const instseg_backend* instseg_backend_entry(uint32_t) {
  static const instseg_backend backend{INSTSEG_BACKEND_ABI_VERSION + 1, sizeof(instseg_backend)};
  return &backend;
}
