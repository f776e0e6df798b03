// Plain maps of numbers for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace instseg::testing_planes {

using Plane = std::vector<double>;  // row-major

// Bilinear, pixel centres at +0.5, edges clamped.
inline Plane resize(const Plane& source, int height, int width, int target_height,
                    int target_width) {
  Plane target;
  const auto position = [](int i, int size, int target_size) {
    return std::clamp((i + 0.5) * size / target_size - 0.5, 0.0, size - 1.0);
  };
  for (int y = 0; y < target_height; ++y) {
    for (int x = 0; x < target_width; ++x) {
      const double source_x = position(x, width, target_width);
      const double source_y = position(y, height, target_height);
      const int x0 = static_cast<int>(source_x), y0 = static_cast<int>(source_y);
      const double tx = source_x - x0, ty = source_y - y0;
      const auto at = [&](int row, int column) {
        return source[static_cast<std::size_t>(std::min(row, height - 1) * width +
                                               std::min(column, width - 1))];
      };
      target.push_back((1 - ty) * ((1 - tx) * at(y0, x0) + tx * at(y0, x0 + 1)) +
                       ty * ((1 - tx) * at(y0 + 1, x0) + tx * at(y0 + 1, x0 + 1)));
    }
  }
  return target;
}

inline std::vector<float> random_values(std::mt19937& random, int count, float deviation) {
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values;
  for (int i = 0; i < count; ++i) {
    values.push_back(normal(random));
  }
  return values;
}

// Values in [-1, 1) by index, all different for up to 1009 of them: the inputs of the recorded
// results of Paddle.
inline std::vector<float> recorded_values(int count, int offset = 0, float scale = 1.0F) {
  std::vector<float> values;
  for (std::int64_t i = offset; i < offset + count; ++i) {
    values.push_back(static_cast<float>(static_cast<double>(i * 7919 % 1009) / 1009.0 * 2.0 - 1.0) *
                     scale);
  }
  return values;
}

}  // namespace instseg::testing_planes
