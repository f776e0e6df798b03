// How large an image and a batch become.
#pragma once

#include <span>

#include "instseg/bundle.hpp"

namespace instseg {

struct PixelSize {
  int height = 0;
  int width = 0;

  friend bool operator==(const PixelSize&, const PixelSize&) = default;
};

// Size of an image after the resize. keep_ratio: both sides times one factor, in double precision,
// rounded half up, at least 1; as instseg_trainer.input_spec computes it, so that a model sees the
// sizes that it was trained on.
PixelSize resized_size(const InputSpec& spec, PixelSize image);

// Size of the network input for a batch of resized images: holds every one of them, and is a
// multiple of spec.pad_stride. `resized` is not empty.
PixelSize input_size(const InputSpec& spec, std::span<const PixelSize> resized);

}  // namespace instseg
