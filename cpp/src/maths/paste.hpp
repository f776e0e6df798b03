// One axis of a small map that is pasted over a box; ops/mask_paste.hpp says what it means.
#pragma once

#include <algorithm>
#include <cmath>

#include "maths/bilinear.hpp"
#include "maths/host_device.hpp"

namespace instseg {

// Where the centre of a pixel lies on the map, cell centres at whole numbers. The steps are those
// of the reference, in its precision: to -1 … 1 over the box, then to cells.
INSTSEG_HOST_DEVICE inline float position_on_map(int pixel, float low, float size, int cells) {
  const float relative = (static_cast<float>(pixel) + 0.5F - low) / size * 2.0F - 1.0F;
  return (relative + 1.0F) * static_cast<float>(cells) * 0.5F - 0.5F;
}

// The pixels with a position in (-1, cells).
INSTSEG_HOST_DEVICE inline Interval pasted_pixels(float low, float high, int cells, int image) {
  const float size = high - low;
  if (!(low < high) || !std::isfinite(low) || !std::isfinite(high) || !std::isfinite(size)) {
    return {};
  }
  // Half a cell around the box, wide by two pixels, then narrowed.
  const float margin = size / static_cast<float>(cells) * 0.5F + 2.0F;
  Interval pixels = whole_numbers(low - margin, high + margin, image);
  const auto inside = [&](int pixel) {
    const float position = position_on_map(pixel, low, size, cells);
    return position > -1.0F && position < static_cast<float>(cells);
  };
  while (pixels.begin < pixels.end && !inside(pixels.begin)) {
    ++pixels.begin;
  }
  while (pixels.begin < pixels.end && !inside(pixels.end - 1)) {
    --pixels.end;
  }
  return pixels;
}

// The pixel is cell[first] * w0 + cell[first + 1] * w1, with a cell of zeros on either side of the
// map: first is counted from the one before.
INSTSEG_HOST_DEVICE inline ComposedTaps paste_taps(int pixel, float low, float high, int cells) {
  // Bounded, should rounding put a pixel between two others outside.
  const float position =
      std::clamp(position_on_map(pixel, low, high - low, cells), -1.0F, static_cast<float>(cells));
  const float cell = std::min(std::floor(position), static_cast<float>(cells - 1));
  ComposedTaps taps;
  taps.first = static_cast<int>(cell) + 1;
  taps.w0 = 1.0F - (position - cell);
  taps.w1 = position - cell;
  return taps;
}

}  // namespace instseg
