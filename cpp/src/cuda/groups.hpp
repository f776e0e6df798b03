// The parts of the table, each compiled in a file of its own.
#pragma once

#include "cuda/ops_api.h"

namespace instseg::cuda {

void add_device_preprocess(instseg_cuda_ops& ops);
void add_device_masks(instseg_cuda_ops& ops);
void add_device_detections(instseg_cuda_ops& ops);
void add_device_regions(instseg_cuda_ops& ops);
void add_device_run_lengths(instseg_cuda_ops& ops);
void add_device_unpack_masks(instseg_cuda_ops& ops);
void add_device_solov2(instseg_cuda_ops& ops);

}  // namespace instseg::cuda
