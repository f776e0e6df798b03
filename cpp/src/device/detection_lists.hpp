// The detections of some images with their masks, in one piece of memory: a GPU writes it, one copy
// brings it to the host.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/ops_api.h"
#include "instseg/result.hpp"

namespace instseg {

// Pointers into such a piece, on the host or on the GPU.
struct DetectionLists {
  // Neither of its two kinds of boxes is set: an op takes `boxes` as the one that it writes.
  instseg_cuda_detections list;
  float* boxes;
  instseg_cuda_masks masks;
};

// How a piece of memory is divided.
class DetectionLayout {
 public:
  // capacity: detections per image; words: of the masks of all images together.
  DetectionLayout(int images, int capacity, std::int64_t words);

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  // All but the words, which come last: the same whatever `words` is.
  [[nodiscard]] std::size_t head_bytes() const noexcept { return at_.words; }
  [[nodiscard]] std::int64_t words() const noexcept { return words_; }
  // base: of bytes(), aligned to 256.
  [[nodiscard]] DetectionLists at(std::byte* base) const;

 private:
  struct Offsets {
    std::size_t counts, class_ids, indices, scores, boxes, crops, offsets, words;
  };

  int capacity_;
  std::int64_t words_;
  Offsets at_{};
  std::size_t bytes_ = 0;
};

// Words that the masks of all `images` need, which may be more than there was room for.
std::int64_t words_needed(const DetectionLists& lists, int images);

// The instances of an image; lists: on the host, with room for all words.
std::vector<Instance> read_instances(const DetectionLists& lists, int image);

}  // namespace instseg
