// The detections of some images with their masks: lists in one piece of memory, which a GPU writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cuda/ops_api.h"
#include "device/kept_masks.hpp"
#include "instseg/result.hpp"

namespace instseg {

// Pointers to the lists and to the words of their masks, on the host or on the GPU.
struct DetectionLists {
  // Neither of its two kinds of boxes is set: an op takes `boxes` as the one that it writes.
  instseg_cuda_detections list;
  float* boxes;
  instseg_cuda_masks masks;
};

// How the memory of lists is divided. The words of the masks lie elsewhere.
class DetectionLayout {
 public:
  // capacity: detections per image.
  DetectionLayout(int images, int capacity);

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  // base: of bytes(), aligned to 256.
  [[nodiscard]] DetectionLists at(std::byte* base, std::span<std::uint32_t> words) const;

 private:
  struct Offsets {
    std::size_t counts, class_ids, indices, scores, boxes, crops, offsets;
  };

  int capacity_;
  Offsets at_{};
  std::size_t bytes_ = 0;
};

// Words that the masks of all `images` need, which may be more than there was room for.
std::int64_t words_needed(const DetectionLists& lists, int images);

// The instances of an image; lists: on the host. Without words there, instances have no masks.
std::vector<Instance> read_instances(const DetectionLists& lists, int image);

// Where the masks of an image are.
KeptMasks::Image read_places(const DetectionLists& lists, const DetectionLists& on_gpu, int image);

}  // namespace instseg
