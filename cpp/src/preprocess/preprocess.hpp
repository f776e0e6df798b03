// Image to network input in one pass: resize, colour order, normalisation, planar layout.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "instseg/image.hpp"
#include "preprocess/sampling.hpp"

namespace instseg {

enum class ColorOrder { rgb, bgr };

struct PreprocessSpec {
  int height = 0;  // network input, pixels; the aspect ratio of the image is not kept
  int width = 0;
  ColorOrder color = ColorOrder::rgb;  // order of the output planes
  Interpolation interpolation = Interpolation::linear;
  float scale = 1.0F;           // value = (pixel * scale - mean) / std,
  std::array<float, 3> mean{};  // per channel in `color` order
  std::array<float, 3> std{1.0F, 1.0F, 1.0F};
};

// Network pixels per original pixel: network coordinate / scale = original coordinate.
struct PreprocessInfo {
  float scale_x = 0.0F;
  float scale_y = 0.0F;
};

// Sampling tables and row buffers, kept from call to call. One per calling thread; the contents are
// the function's own.
struct PreprocessScratch {
  AxisSampling x;
  AxisSampling y;
  std::vector<float> staging;            // per task: a source row, a resized row
  std::vector<float> float_rows;         // per task: resized rows of the cubic resize
  std::vector<std::int16_t> fixed_rows;  // per task: resized rows of the linear resize
};

// Resizes as OpenCV does for 8-bit images: pixel grid with centres at +0.5, no antialiasing, border
// replicated, result rounded to 8 bits. Then normalises. Gray is replicated to three channels,
// alpha is dropped.
//
// linear: OpenCV's fixed-point arithmetic, equal in every pixel. cubic (A = -0.75): exact weights,
// as OpenCV's IPP build (the wheels for x86) computes it; OpenCV without IPP rounds the weights to
// 11 bits and may differ by 1 of 255 in a few percent of the pixels.
//
// `out`: 3 * height * width floats, planes in `spec.color` order, each row-major. The work is
// shared between the caller and `pool`. Throws Error(invalid_argument) for no pixels, sizes that
// are not positive or above the limits of image.hpp, a stride shorter than a row, an `out` of
// another size, and constants that are not finite or a std of zero.
PreprocessInfo preprocess(const ImageView& image, const PreprocessSpec& spec, std::span<float> out,
                          PreprocessScratch& scratch, ThreadPool& pool);

}  // namespace instseg
