#include "cuda/execution/device.cuh"
#include "cuda/groups.hpp"
#include "cuda/pipelines/preprocess.hpp"

namespace instseg::cuda {

void add_device_preprocess(instseg_cuda_ops& ops) { add_preprocess<DeviceExecutor>(ops); }

}  // namespace instseg::cuda
