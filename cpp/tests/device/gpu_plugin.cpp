// The backend of gpu_backend.hpp as a plug-in, for the tests in Python. It has a copy of the
// library in itself, which finds OpenVINO's plug-in in INSTSEG_PLUGIN_PATH.
#include "device/gpu_backend.hpp"

extern "C" INSTSEG_BACKEND_EXPORT const instseg_backend* instseg_backend_entry(
    uint32_t abi_version) {
  std::string reason;
  return abi_version == INSTSEG_BACKEND_ABI_VERSION &&
                 instseg::testing_device::find_gpu(reason) != nullptr
             ? &instseg::testing_device::gpu_backend()
             : nullptr;
}
