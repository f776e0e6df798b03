// The mask of one box from the small map that a mask head gives for it.
#pragma once

#include <span>
#include <vector>

#include "instseg/mask.hpp"

namespace instseg {

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct MaskPasteScratch {
  // Pixel i of an axis, counted from the crop's edge, is cell[first] * w0 + cell[first + 1] * w1,
  // with a cell of zeros on either side of the map: first is counted from the one before.
  struct Axis {
    std::vector<int> first;
    std::vector<float> w0, w1;
  };
  Axis x;
  Axis y;
  std::vector<float> cells;    // one row and its border
  std::vector<float> columns;  // map rows and borders x crop columns
};

// probabilities: h x w, stretched over the box; box: pixels of the original image.
//
// The mask is: bilinear from the map (cell centres at +0.5, zero outside the map) at the pixel
// centres; >= threshold. Only pixels that can differ from zero are evaluated: those of the box and
// half a cell around it, inside the image. The crop of the result is these; it is 0 x 0 for a box
// without area, inverted, not finite or outside the image. A probability that is NaN counts as 0,
// others are bounded by 0 and 1.
// Throws Error(invalid_argument) for sizes that are not positive, above the limits of image.hpp or
// that do not fit the span, and for a threshold that is not above 0 and at most 1.
PackedMask paste_mask(std::span<const float> probabilities, int h, int w, const Box& box,
                      int image_height, int image_width, float threshold,
                      MaskPasteScratch& scratch);

}  // namespace instseg
