// Bilinear resizes of one axis, and two of them composed into one set of weights per target pixel.
#pragma once

#include <algorithm>
#include <vector>

namespace instseg {

// Whole numbers, half-open.
struct Interval {
  int begin = 0;
  int end = 0;

  [[nodiscard]] int size() const { return std::max(0, end - begin); }
};

// The whole numbers n in [0, size) with low <= n < high; none when one is NaN.
Interval whole_numbers(float low, float high, int size);

// `cells` samples are resized to `upsampled` pixels, the first `visible` of these to `image`
// pixels; pixel centres are at +0.5, edges are clamped. 1 <= cells <= upsampled,
// 1 <= visible <= upsampled, 1 <= image. With cells == upsampled the first resize does nothing.
struct ResizeChain {
  int cells = 0;
  int upsampled = 0;
  int visible = 0;
  int image = 0;
};

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
