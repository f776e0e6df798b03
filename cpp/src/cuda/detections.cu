#include "cuda/execution/device.cuh"
#include "cuda/groups.hpp"
#include "cuda/pipelines/detections.hpp"

namespace instseg::cuda {

void add_device_detections(instseg_cuda_ops& ops) { add_detections<DeviceExecutor>(ops); }

}  // namespace instseg::cuda
