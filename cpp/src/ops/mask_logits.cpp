#include "ops/mask_logits.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace instseg {

void multiply(const LeftMatrix& left, std::span<const float> right, int columns, ThreadPool& pool,
              std::span<float> out) {
  constexpr int kGroup = LeftMatrix::kRowGroup;
  const int groups = (left.rows() + kGroup - 1) / kGroup;
  const std::int64_t blocks = (std::int64_t{columns} + kProductColumns - 1) / kProductColumns;
  pool.parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local RightBlock block;
    thread_local std::vector<float> tile;
    tile.resize(std::size_t{kGroup} * kProductColumns);
    for (std::int64_t index = begin; index < end; ++index) {
      const auto first = static_cast<int>(index * kProductColumns);
      const int count = std::min(kProductColumns, columns - first);
      block.pack(right.data() + first, columns, left.depth(), count);
      for (int group = 0; group < groups; ++group) {
        multiply_rows(left, group, block, tile.data(), kProductColumns);
        const int rows = std::min(kGroup, left.rows() - group * kGroup);
        for (int row = 0; row < rows; ++row) {
          std::copy_n(tile.data() + std::ptrdiff_t{row} * kProductColumns, count,
                      out.data() + std::ptrdiff_t{group * kGroup + row} * columns + first);
        }
      }
    }
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
