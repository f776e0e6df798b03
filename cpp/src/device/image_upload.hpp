// Images to network input on a GPU: one copy of all pixels that are on the host, and the op
// `preprocess`.
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
  std::span<const ImageView> images;  // checked; those on a GPU are on that of the queue
  std::span<const PixelSize> resized;
  PixelSize input;  // of the network
};

// Buffers grow to the largest batch seen. Belongs to one call at a time.
class ImageUpload {
 public:
  ImageUpload(const CudaDevice& device, const InputSpec& spec);

  // Puts it on the queue, and returns where the network input will be: float32, images x 3 x height
  // x width. Pixels of the host are taken over before it returns, those on the GPU are used until
  // the queue has passed. Nothing on the queue may still use what the call before returned.
  float* enqueue(CudaQueue& queue, const DeviceBatch& batch, ThreadPool& pool);

 private:
  // Fills `images_`, and `offsets_`: where pixels of the host will lie, rows without gaps. Returns
  // the bytes of all of them.
  std::size_t place(const DeviceBatch& batch);
  void upload(CudaQueue& queue, const DeviceBatch& batch, std::size_t bytes, ThreadPool& pool);

  instseg_cuda_preprocess arguments_{};  // but for images and sizes
  std::vector<instseg_cuda_image> images_;
  std::vector<std::size_t> offsets_;
  CudaMemory staging_;
  CudaMemory pixels_;
  CudaMemory input_;
};

}  // namespace instseg
