// A library of CUDA ops that knows another version of the table.
#include "cuda/ops_api.h"

extern "C" const instseg_cuda_ops* instseg_cuda_entry(uint32_t) {
  static const instseg_cuda_ops table = [] {
    instseg_cuda_ops made{};
    made.abi_version = INSTSEG_CUDA_ABI_VERSION + 6;
    made.struct_size = sizeof made;
    return made;
  }();
  return &table;
}
