// What the decoders of whole-image masks share.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

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

// out = left . right, both row-major, `right` depth x columns, out rows x columns.
void multiply(const LeftMatrix& left, std::span<const float> right, int columns, ThreadPool& pool,
              std::span<float> out);

// The rows and columns of the cells above the threshold; NaN is not.
struct CellBounds {
  Interval x;
  Interval y;
};
CellBounds bounds_above(std::span<const float> cells, int height, int width, float threshold);

}  // namespace instseg
