#include "cuda/execution/device.cuh"
#include "cuda/groups.hpp"
#include "cuda/pipelines/unpack.hpp"

namespace instseg::cuda {

void add_device_unpack_masks(instseg_cuda_ops& ops) { add_unpack_masks<DeviceExecutor>(ops); }

}  // namespace instseg::cuda
