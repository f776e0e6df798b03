#include "ops/mask_logits.hpp"

#include <algorithm>
#include <cstddef>

namespace instseg {

void multiply(const LeftMatrix& left, std::span<const float> right, int columns, ThreadPool& pool,
              std::span<float> out) {
  for_each_product(left, right, columns, pool,
                   [&](int row, int first, std::span<const float> values) {
                     std::ranges::copy(values, out.data() + std::ptrdiff_t{row} * columns + first);
                   });
}

CellBounds bounds_above(std::span<const float> cells, int height, int width, float threshold) {
  CellBounds bounds{{width, 0}, {height, 0}};
  for (int y = 0; y < height; ++y) {
    const float* const row = cells.data() + std::ptrdiff_t{y} * width;
    int count = 0;
    for (int x = 0; x < width; ++x) {
      count += row[x] > threshold ? 1 : 0;
    }
    if (count == 0) {
      continue;
    }
    int left = 0;
    while (!(row[left] > threshold)) {
      ++left;
    }
    int right = width;
    while (!(row[right - 1] > threshold)) {
      --right;
    }
    bounds.x = {std::min(bounds.x.begin, left), std::max(bounds.x.end, right)};
    bounds.y = {std::min(bounds.y.begin, y), y + 1};
  }
  return bounds;
}

}  // namespace instseg
