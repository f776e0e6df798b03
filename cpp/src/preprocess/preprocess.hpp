// Image to network input in one pass: resize, colour order, normalisation, planar layout.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "instseg/image.hpp"

namespace instseg {

enum class Interpolation { linear, cubic };
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

// Sampling tables, kept from call to call and rebuilt when a size or the interpolation changes. One
// per calling thread; the contents are the function's own.
struct PreprocessScratch {
  // Output sample i of an axis reads the source samples offsets[i * 4 + k] with weights[i * 4 + k],
  // k = 0 … 3.
  struct Axis {
    int source = 0;
    int target = 0;
    Interpolation interpolation = Interpolation::linear;
    std::vector<int> offsets;
    std::vector<float> weights;
  };
  Axis x;
  Axis y;
  std::vector<float> rows;  // row buffers of the concurrent tasks
};

// Resizes with OpenCV's rules for 8-bit images (pixel grid with centres at +0.5, no antialiasing,
// replicated border, 11-bit weights, result rounded to 8 bits), then normalises. Gray is replicated
// to three channels, alpha is dropped. `out`: 3 * height * width floats, planes in `spec.color`
// order, each row-major. Works on the caller's thread and `pool`. Throws Error(invalid_argument)
// for no pixels, sizes that are not positive or above the limits of image.hpp, a stride shorter
// than a row, an `out` of another size, a std that is zero, or a constant that is not finite.
PreprocessInfo preprocess(const ImageView& image, const PreprocessSpec& spec, std::span<float> out,
                          PreprocessScratch& scratch, ThreadPool& pool);

}  // namespace instseg
