// Image to network input in one pass: resize, colour order, normalisation, planar layout, padding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "instseg/bundle.hpp"
#include "instseg/image.hpp"
#include "preprocess/input_size.hpp"
#include "preprocess/sampling.hpp"

namespace instseg {

// Where the resized image lies in the network input: rows [0, height), columns [0, width); the rest
// is padding. Network coordinate / scale = original coordinate.
struct PreprocessInfo {
  int height = 0;
  int width = 0;
  float scale_x = 0.0F;  // width / width of the original image
  float scale_y = 0.0F;
};

// Sampling tables and row buffers, kept from call to call. One per calling thread; the contents are
// the function's own.
struct PreprocessScratch {
  AxisSampling x;
  AxisSampling y;
  std::vector<float> staging;            // per task: a source row, a resized row
  std::vector<float> float_rows;         // per task: resized rows that are kept as floats
  std::vector<std::int16_t> fixed_rows;  // per task: resized rows of the 8-bit linear resize
};

// Throws Error(invalid_argument) for no pixels, sizes that are not positive or above the limits of
// image.hpp, a stride shorter than a row or beyond all measure, and values outside of the
// enumerations.
void check_image(const ImageView& image);

// Resizes as OpenCV does: pixel grid with centres at +0.5, no antialiasing, border replicated. Gray
// is replicated to three channels, alpha is dropped.
//
// 8-bit images, the result rounded to 8 bits and then normalised:
//   linear: OpenCV's fixed-point arithmetic, equal in every pixel. cubic (A = -0.75): as OpenCV's
//   IPP build (the wheels for x86) computes it where it fuses products, on any processor: the
//   reference's photos are equal in every pixel. Without fused products OpenCV itself adds in
//   another order, which decides some ten values in a million; without IPP it rounds the weights to
//   11 bits and may differ by 1 of 255 in a few percent of the pixels.
// spec.normalize_first, linear only: as for a float image of normalised pixels (in OpenCV's IPP
//   build again: positions in double precision). The weights of a pixel sum to 1, so normalising
//   the resized value comes to the same.
//
// `input`: size of the network input, at least resized_size(); what the image leaves is set to 0.
// `out`: 3 * input.height * input.width floats, planes in `spec.color` order, each row-major; every
// one is written. The work is shared between the caller and `pool`. Throws Error(invalid_argument)
// as check_image, for pixels on a GPU, an image that does not fit into the input, an `out` of
// another size, and constants that are not finite or a std of zero.
PreprocessInfo preprocess(const ImageView& image, const InputSpec& spec, PixelSize input,
                          std::span<float> out, PreprocessScratch& scratch, ThreadPool& pool);

}  // namespace instseg
