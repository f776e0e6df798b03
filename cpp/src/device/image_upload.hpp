// Images to network input on a GPU: one copy of all pixels, and the op `preprocess`.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "device/cuda_queue.hpp"
#include "instseg/bundle.hpp"
#include "instseg/image.hpp"
#include "preprocess/input_size.hpp"

namespace instseg {

// The images of a batch and their sizes in the network input.
struct DeviceBatch {
  std::span<const ImageView> images;  // checked
  std::span<const PixelSize> resized;
  PixelSize input;  // of the network
};

// Buffers grow to the largest batch seen. Belongs to one call at a time.
class ImageUpload {
 public:
  ImageUpload(const CudaDevice& device, const InputSpec& spec);

  // Puts it on the queue, and returns where the network input will be: float32, images x 3 x height
  // x width. The pixels are taken over before it returns. Nothing on the queue may still use what
  // the call before returned.
  float* enqueue(CudaQueue& queue, const DeviceBatch& batch, ThreadPool& pool);

 private:
  // Where the pixels lie, rows without gaps; `images_` gets offsets instead of pointers.
  std::size_t place(const DeviceBatch& batch);

  instseg_cuda_preprocess arguments_{};  // but for images and sizes
  std::vector<instseg_cuda_image> images_;
  std::vector<std::size_t> offsets_;
  CudaMemory staging_;
  CudaMemory pixels_;
  CudaMemory input_;
};

}  // namespace instseg
