// What the decoders of whole-image masks share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "ops/bilinear.hpp"
#include "ops/matrix_product.hpp"

namespace instseg {

// Columns of the product that are made at once: a block of the right factor fits the cache.
inline constexpr int kProductColumns = 256;

// The logit of a probability in [0, 1]; infinite at the ends.
inline float logit_of(float probability) {
  return std::log(probability) - std::log1p(-probability);
}

// Calls visit(row, first_column, values) for parts of left . right, each once, in any order and on
// any thread of the pool; `right` is left.depth() x columns, row-major. First columns are multiples
// of kProductColumns, and a part ends there or at the last column.
template <class Visit>
void for_each_product(const LeftMatrix& left, std::span<const float> right, int columns,
                      ThreadPool& pool, Visit&& visit) {
  constexpr int kGroup = LeftMatrix::kRowGroup;
  const std::int64_t blocks = (std::int64_t{columns} + kProductColumns - 1) / kProductColumns;
  pool.parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local RightBlock block;
    thread_local std::vector<float> tile;
    tile.resize(std::size_t{kGroup} * kProductColumns);
    for (std::int64_t index = begin; index < end; ++index) {
      const auto first = static_cast<int>(index * kProductColumns);
      const int count = std::min(kProductColumns, columns - first);
      block.pack(right.data() + first, columns, left.depth(), count);
      for (int row = 0; row < left.rows(); ++row) {
        if (row % kGroup == 0) {
          multiply_rows(left, row / kGroup, block, tile.data(), kProductColumns);
        }
        visit(row, first,
              std::span<const float>(tile).subspan(
                  static_cast<std::size_t>(row % kGroup) * kProductColumns,
                  static_cast<std::size_t>(count)));
      }
    }
  });
}

// out = left . right, both row-major, out left.rows() x columns.
void multiply(const LeftMatrix& left, std::span<const float> right, int columns, ThreadPool& pool,
              std::span<float> out);

// The rows and columns of the cells above the threshold; NaN is not.
struct CellBounds {
  Interval x;
  Interval y;
};
CellBounds bounds_above(std::span<const float> cells, int height, int width, float threshold);

}  // namespace instseg
