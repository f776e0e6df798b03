#include "cuda/execution/device.cuh"
#include "cuda/groups.hpp"
#include "cuda/pipelines/masks.hpp"

namespace instseg::cuda {

void add_device_masks(instseg_cuda_ops& ops) { add_masks<DeviceExecutor>(ops); }

}  // namespace instseg::cuda
