// What was found in an image, with masks that stay on the GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "instseg/export.hpp"
#include "instseg/result.hpp"

namespace instseg {

// One detected object. Its mask is packed as a PackedMask's: rows of (width + 31) / 32 words, from
// GpuResult::words() + first_word on.
struct GpuInstance {
  int class_id = 0;
  float score = 0.0F;
  Box box{};  // as Instance::box
  int x = 0;  // the crop that the mask is stored for; 0 x 0 where it is empty
  int y = 0;
  int width = 0;
  int height = 0;
  std::int64_t first_word = 0;
};

// Masks of whole images, a byte per pixel, in memory of their own.
struct GpuMasks {
  std::shared_ptr<std::uint8_t> data;  // count x height x width, 0 or 1; null where count is 0
  int count = 0;
  int height = 0;
  int width = 0;
  int device = 0;  // number of the GPU
};

// Made by Predictor::predict_on_gpu. A value: copies are cheap and mean the same. It may be used
// from many threads, and outlive the predictor. A moved-from one may only be assigned to or
// destroyed.
//
// The images of one network call share the memory of their masks, which stays theirs until the last
// of their results is gone; then the predictor uses it again. So a result has to live as long as
// kernels of your own read words().
//
// What a result is asked for is done on its GPU, which is that of the calling thread afterwards.
class INSTSEG_API GpuResult {
 public:
  struct Data;
  explicit GpuResult(std::shared_ptr<const Data> data) noexcept : data_(std::move(data)) {}

  [[nodiscard]] int image_height() const noexcept;
  [[nodiscard]] int image_width() const noexcept;
  [[nodiscard]] std::span<const GpuInstance> instances() const noexcept;  // as Result::instances
  [[nodiscard]] const Timings& timings() const noexcept;
  [[nodiscard]] int device() const noexcept;  // number of the GPU: 0 of "gpu:0"
  // Of all masks, on the GPU. They are complete: no stream has to be waited for.
  [[nodiscard]] const std::uint32_t* words() const noexcept;

  // What Predictor::predict would have given. Copies the words to the host, and waits for that.
  [[nodiscard]] Result to_host() const;

  // Writes the masks as bytes into memory of this GPU, instances x image_height x image_width, 0 or
  // 1; `bytes` is the size of that.
  //
  // stream: a cudaStream_t of this GPU. `out` is written after what is on it by then, and before
  // what is put on it afterwards; the calling thread does not wait, and the result need not live
  // until then. Null: waits until all is written.
  //
  // Throws Error(invalid_argument) for another size, and for memory that is not this GPU's.
  void unpack(void* out, std::size_t bytes, void* stream = nullptr) const;

  // The same into new memory, and waits. That memory is not used again: it goes back to the GPU at
  // the end of its life. Throws Error(out_of_memory).
  [[nodiscard]] GpuMasks masks() const;

 private:
  std::shared_ptr<const Data> data_;
};

}  // namespace instseg
