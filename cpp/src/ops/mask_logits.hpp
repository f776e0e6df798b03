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

// Cells of a map, half-open.
struct CellBounds {
  Interval x;
  Interval y;

  [[nodiscard]] std::size_t cells() const {
    return static_cast<std::size_t>(x.size()) * static_cast<std::size_t>(y.size());
  }
};

// One row of a product, of which only some columns, cells of a map, are wanted.
struct ProductWindow {
  const float* left = nullptr;  // depth values
  CellBounds cells;
  std::size_t offset = 0;  // of the first cell in the result; the others follow row by row
};

// Each window's part of left . right, written at its offset. right: depth x (height * width),
// row-major. The values are those of `multiply`.
void multiply_windows(std::span<const ProductWindow> windows, int depth,
                      std::span<const float> right, int height, int width, ThreadPool& pool,
                      std::span<float> out);

// Where the set bits are: bit i % 64 of word i / 64 is cell i of the map, row by row.
CellBounds bounds_of_bits(std::span<const std::uint64_t> words, int width);

// The rows and columns of the cells above the threshold; NaN is not.
CellBounds bounds_above(std::span<const float> cells, int height, int width, float threshold);

}  // namespace instseg
