#include "cuda/execution/device.cuh"
#include "cuda/groups.hpp"
#include "cuda/pipelines/regions.hpp"

namespace instseg::cuda {

void add_device_regions(instseg_cuda_ops& ops) { add_regions<DeviceExecutor>(ops); }

}  // namespace instseg::cuda
