// Images whose pixels are on a GPU already.
#pragma once

#include "device/cuda_queue.hpp"
#include "instseg/image.hpp"

namespace instseg {

// Are the pixels in memory of this GPU? What is looked at are the first and the last byte: a size
// that is not true shows where it leaves the GPU's memory.
//
// image: with check_image passed, and PixelMemory::gpu. Makes the GPU that of the calling thread.
// Throws Error(invalid_argument) where they are not.
void check_gpu_image(const CudaDevice& device, const ImageView& image);

}  // namespace instseg
