#include "cuda/execution/device.cuh"
#include "cuda/groups.hpp"
#include "cuda/pipelines/solov2.hpp"

namespace instseg::cuda {

void add_device_solov2(instseg_cuda_ops& ops) { add_solov2<DeviceExecutor>(ops); }

}  // namespace instseg::cuda
