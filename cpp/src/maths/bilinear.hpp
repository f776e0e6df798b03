// Bilinear resizes of one axis, and two of them composed: one pixel at a time.
#pragma once

#include <algorithm>
#include <cmath>

#include "maths/host_device.hpp"

namespace instseg {

// Whole numbers, half-open.
struct Interval {
  int begin = 0;
  int end = 0;

  [[nodiscard]] INSTSEG_HOST_DEVICE int size() const { return std::max(0, end - begin); }
};

// The whole numbers n in [0, size) with low <= n < high; none when one is NaN.
INSTSEG_HOST_DEVICE inline Interval whole_numbers(float low, float high, int size) {
  if (!(low < high)) {
    return {};
  }
  const auto limit = static_cast<float>(size);
  return {static_cast<int>(std::clamp(std::ceil(low), 0.0F, limit)),
          static_cast<int>(std::clamp(std::ceil(high), 0.0F, limit))};
}

// `cells` samples are resized to `upsampled` pixels, the first `visible` of these to `image`
// pixels; pixel centres are at +0.5, edges are clamped. 1 <= cells <= upsampled,
// 1 <= visible <= upsampled, 1 <= image. With cells == upsampled the first resize does nothing.
struct ResizeChain {
  int cells = 0;
  int upsampled = 0;
  int visible = 0;
  int image = 0;
};

// One bilinear sample: source samples first and second, weights 1 - t and t.
struct BilinearSample {
  int first;
  int second;
  float t;
};

// Bilinear resize of one axis; pixel centres at +0.5, edges clamped.
class BilinearAxis {
 public:
  INSTSEG_HOST_DEVICE BilinearAxis(int source_size, int target_size)
      : scale_(static_cast<float>(source_size) / static_cast<float>(target_size)),
        last_(source_size - 1) {}

  [[nodiscard]] INSTSEG_HOST_DEVICE BilinearSample operator()(int target) const {
    const double position = std::max(0.0, double{scale_} * (target + 0.5) - 0.5);
    const int first = std::min(static_cast<int>(position), last_);
    const float t =
        std::clamp(static_cast<float>(position) - static_cast<float>(first), 0.0F, 1.0F);
    return {first, std::min(first + 1, last_), t};
  }

 private:
  float scale_;  // single precision, but positions in double: so that the weights are Paddle's
  int last_;
};

INSTSEG_HOST_DEVICE inline bool reaches(const BilinearSample& sample, const Interval& kept) {
  const auto inside = [&](int n) { return n >= kept.begin && n < kept.end; };
  return (sample.t < 1.0F && inside(sample.first)) || (sample.t > 0.0F && inside(sample.second));
}

// The image pixels that sample an upsampled pixel of `kept`.
INSTSEG_HOST_DEVICE inline Interval reached_pixels(const ResizeChain& chain, const Interval& kept) {
  if (kept.size() == 0) {
    return {};
  }
  const BilinearAxis to_image(chain.visible, chain.image);
  // Wide by a few pixels, then narrowed to those that do sample one.
  const double factor = static_cast<double>(chain.image) / chain.visible;
  const auto clamped = [&](double pixel) {
    return static_cast<int>(std::clamp(pixel, 0.0, static_cast<double>(chain.image)));
  };
  Interval pixels{clamped((kept.begin - 1) * factor - 2), clamped((kept.end + 1) * factor + 3)};
  while (pixels.begin < pixels.end && !reaches(to_image(pixels.begin), kept)) {
    ++pixels.begin;
  }
  while (pixels.begin < pixels.end && !reaches(to_image(pixels.end - 1), kept)) {
    --pixels.end;
  }
  return pixels;
}

// An image pixel is w0 * cell[first] + w1 * (the next) + w2 * (the one after that). A cell behind
// the last one may be named, with weight zero.
struct ComposedTaps {
  int first = -1;  // -1: reads nothing
  float w0 = 0.0F;
  float w1 = 0.0F;
  float w2 = 0.0F;
  int last = -1;  // cell
};

// Upsampled pixels outside `kept` count as zero.
INSTSEG_HOST_DEVICE inline ComposedTaps compose_pixel(const ResizeChain& chain,
                                                      const Interval& kept, int pixel) {
  const BilinearAxis to_upsampled(chain.cells, chain.upsampled);
  const BilinearSample outer = BilinearAxis(chain.visible, chain.image)(pixel);
  ComposedTaps taps;
  // Neighbouring upsampled pixels are at most one cell apart, so three cells hold all four taps.
  const auto add_cell = [&](int cell, float weight) {
    const int k = cell - taps.first;
    (k == 0 ? taps.w0 : k == 1 ? taps.w1 : taps.w2) += weight;
  };
  const auto add = [&](int upsampled, float weight) {
    if (weight <= 0.0F || upsampled < kept.begin || upsampled >= kept.end) {
      return;
    }
    const BilinearSample inner = to_upsampled(upsampled);
    if (taps.first < 0) {
      taps.first = inner.first;
    }
    add_cell(inner.first, weight * (1.0F - inner.t));
    add_cell(inner.second, weight * inner.t);
    taps.last = std::max(taps.last, inner.second);
  };
  add(outer.first, 1.0F - outer.t);
  add(outer.second, outer.t);
  return taps;
}

}  // namespace instseg
