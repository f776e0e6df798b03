// Late mask decode: the mask of one kept instance from prototypes and its coefficients.
#pragma once

#include <span>

#include "instseg/mask.hpp"
#include "ops/bilinear.hpp"
#include "ops/mask_render.hpp"

namespace instseg {

struct MaskDecodeSpec {
  int network_height = 0;  // network input, pixels
  int network_width = 0;
  float threshold = 0.5F;  // mask = probability > this; in [0, 1]
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct MaskScratch {
  AxisTaps x;  // both interpolations and the cut, composed
  AxisTaps y;
  RenderScratch render;
};

// prototypes: channels x h x w, h and w not above the network's size; coefficients: one per
// channel; box: pixels of the network input, not clipped; image_height, image_width: the original
// image, which the network input shows stretched.
//
// The mask is: sigmoid(coefficients . prototypes) at prototype resolution; bilinear to the network
// input (pixel centres at +0.5, edges clamped); zero at network pixels (x, y) that are not
// x1 <= x < x2 and y1 <= y < y2 with x, y the integer pixel indices; bilinear to the original
// image; > threshold. Cells and pixels that the box does not reach are not evaluated.
// The crop of the result is the original pixels that the box reaches; it is 0 x 0 when there are
// none (a box outside the network input, inverted, or with a NaN coordinate). A cell whose logit is
// NaN counts as unset.
// Throws Error(invalid_argument) for sizes that are not positive, above the limits of image.hpp or
// that do not fit the spans, and for a threshold outside [0, 1].
PackedMask decode_prototype_mask(std::span<const float> prototypes, int channels, int h, int w,
                                 std::span<const float> coefficients, const Box& box,
                                 int image_height, int image_width, const MaskDecodeSpec& spec,
                                 MaskScratch& scratch);

}  // namespace instseg
