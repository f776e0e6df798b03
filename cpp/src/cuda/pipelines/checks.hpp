// Checks that several ops make.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "cuda/execution/workspace.hpp"
#include "cuda/kernels/masks.hpp"
#include "instseg/image.hpp"

namespace instseg::cuda {

// The counts that must be at least 0, or at least 1.
inline void check_at_least(const char* op, const char* what, std::int64_t found, int least) {
  if (found < least || found > INT32_MAX) {
    fail(op, std::string(what) + " is " + std::to_string(found) + ", expected at least " +
                 std::to_string(least));
  }
}

inline void check_images(const char* op, int images, int capacity) {
  check_at_least(op, "the number of images", images, 0);
  check_at_least(op, "the capacity", capacity, 0);
  if (images > INSTSEG_CUDA_MAX_IMAGES) {
    fail(op, std::to_string(images) + " images, expected at most " +
                 std::to_string(INSTSEG_CUDA_MAX_IMAGES) + " in one call");
  }
  check_at_least(op, "images x capacity", std::int64_t{images} * capacity, 0);
}

inline void check_pixels(const char* op, const char* what, int height, int width) {
  if (height < 1 || width < 1 || height > kMaxImageSide || width > kMaxImageSide ||
      std::int64_t{height} * width > kMaxImagePixels) {
    fail(op, std::string(what) + " is " + std::to_string(width) + " x " + std::to_string(height) +
                 ", expected sides of 1 to " + std::to_string(kMaxImageSide));
  }
}

// Of the host's images x 2 numbers.
inline ImageSizes read_image_sizes(const char* op, const std::int32_t* sizes, int images) {
  ImageSizes result{};
  for (int i = 0; i < images; ++i) {
    result.of[i] = {sizes[2 * i], sizes[2 * i + 1]};
    check_pixels(op, "an image", result.of[i].height, result.of[i].width);
  }
  return result;
}

inline ResizedSizes read_resized_sizes(const char* op, const float* sizes, int images) {
  ResizedSizes result{};
  for (int i = 0; i < images; ++i) {
    const float height = sizes[2 * i];
    const float width = sizes[2 * i + 1];
    if (!(height > 0.0F) || !(width > 0.0F) || !std::isfinite(height) || !std::isfinite(width)) {
      fail(op, "a resized image of " + std::to_string(width) + " x " + std::to_string(height) +
                   ", expected a positive size");
    }
    result.of[i] = {height, width};
  }
  return result;
}

inline ImageSize largest(const ImageSizes& sizes, int images) {
  ImageSize largest{0, 0};
  for (int i = 0; i < images; ++i) {
    largest.height = std::max(largest.height, sizes.of[i].height);
    largest.width = std::max(largest.width, sizes.of[i].width);
  }
  return largest;
}

inline void check_probability(const char* op, float threshold) {
  if (!(threshold >= 0.0F && threshold <= 1.0F)) {
    fail(op, "the mask threshold is " + std::to_string(threshold) + ", expected 0 to 1");
  }
}

// As ops/mask_logits.hpp; infinite at the ends.
inline float logit_of_threshold(float probability) {
  return std::log(probability) - std::log1p(-probability);
}

}  // namespace instseg::cuda
