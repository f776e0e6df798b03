#include "cuda/execution/device.cuh"
#include "cuda/groups.hpp"
#include "cuda/pipelines/run_lengths.hpp"

namespace instseg::cuda {

void add_device_run_lengths(instseg_cuda_ops& ops) { add_run_lengths<DeviceExecutor>(ops); }

}  // namespace instseg::cuda
