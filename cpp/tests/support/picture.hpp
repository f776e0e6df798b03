// Images in which the networks of tests/family_bundles.py find something.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "instseg/image.hpp"

namespace instseg::testing {

// BGR, a mixture of slopes of all colours.
struct Picture {
  Picture(int rows, int columns, int seed)
      : height(rows), width(columns), pixels(std::size_t(3) * std::size_t(rows * columns)) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (int c = 0; c < 3; ++c) {
          const int slope = (c + seed) % 3 == 0 ? x * 255 / width : y * 255 / height;
          const int value = c == seed % 3 ? 255 - slope : slope;
          pixels[std::size_t(3 * (y * width + x) + c)] =
              static_cast<std::uint8_t>(std::clamp(value, 10, 250));
        }
      }
    }
  }
  [[nodiscard]] ImageView view() const {
    return {pixels.data(), height, width, std::ptrdiff_t{3} * width, PixelFormat::bgr8};
  }

  int height, width;
  std::vector<std::uint8_t> pixels;
};

}  // namespace instseg::testing
