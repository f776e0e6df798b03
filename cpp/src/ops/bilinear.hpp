// Bilinear resizes of one axis, and two of them composed into one set of weights per target pixel.
#pragma once

#include <vector>

#include "maths/bilinear.hpp"

namespace instseg {

// Image pixel i (counted from the reach's first) is w0[i] * cell[first[i]] + w1[i] * (the next) +
// w2[i] * (the one after that). A cell behind the last one may be named, with weight zero.
struct AxisTaps {
  std::vector<int> first;
  std::vector<float> w0, w1, w2;
};

// What one axis covers: pixels of the image, and the cells that these sample.
struct Reach {
  Interval pixels;
  Interval cells;
};

// Writes the taps of the image pixels that sample an upsampled pixel of `kept`; upsampled pixels
// outside `kept` count as zero. `kept` lies in [0, visible).
Reach compose_axis(const ResizeChain& chain, const Interval& kept, AxisTaps& taps);

}  // namespace instseg
