// The detections of a batch on their way from a GPU to the host.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "device/cuda_queue.hpp"
#include "device/detection_lists.hpp"
#include "instseg/image.hpp"

namespace instseg {

// How much room masks get. It follows what they needed, so that one copy brings them all, and not
// much more than them.
class MaskRoom {
 public:
  // In words, for `images` images, the largest of which takes `image_words` words as a whole.
  [[nodiscard]] std::int64_t words(int images, std::int64_t image_words) const {
    return images * std::max(2 * image_words, per_image_);
  }
  void seen(int images, std::int64_t needed) {
    const std::int64_t rounded = (needed + images - 1) / images;
    per_image_ = std::max(rounded + rounded / 2, per_image_ - per_image_ / 16);
  }

 private:
  std::int64_t per_image_ = 0;
};

// Memory on both sides, which grows to the largest batch seen.
class DetectionDownload {
 public:
  explicit DetectionDownload(const CudaDevice& device)
      : device_(device, CudaPlace::device), host_(device, CudaPlace::pinned_host) {}

  // fill(first, memory, layout): puts the ops on the queue that write `memory`, on the GPU and
  // divided as `layout` says, for images first … first + per_call - 1. Called for all images, and
  // for all of them again where the masks had too little room. Then copies, once for all of them,
  // and waits. capacity: detections of an image, at most.
  template <class Fill>
  void run(CudaQueue& queue, std::span<const ImageView> images, int per_call, int capacity,
           Fill&& fill) {
    images_ = static_cast<int>(images.size());
    per_call_ = per_call;
    do {
      layout_ = DetectionLayout(per_call, capacity, room_.words(per_call, most_words(images)));
      std::byte* const memory = device_.reserve(bytes());
      for (int first = 0; first < images_; first += per_call) {
        fill(first, memory + offset(first), layout_);
      }
      fetch(queue, memory);
    } while (!fits());
  }

  // Of the last run.
  [[nodiscard]] std::vector<Instance> instances(std::size_t image) const;

 private:
  static std::int64_t most_words(std::span<const ImageView> images);
  [[nodiscard]] std::size_t offset(int first) const {
    return layout_.bytes() * static_cast<std::size_t>(first / per_call_);
  }
  [[nodiscard]] std::size_t bytes() const { return offset(images_); }
  void fetch(CudaQueue& queue, const std::byte* memory);
  // Were there enough words? Remembers how many are needed.
  bool fits();

  CudaMemory device_;
  CudaMemory host_;
  MaskRoom room_;
  int images_ = 0;
  int per_call_ = 1;
  DetectionLayout layout_{0, 0, 0};
  std::byte* found_ = nullptr;  // on the host
};

}  // namespace instseg
