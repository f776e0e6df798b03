// The loops of queries, written once (kernels_impl.hpp) and compiled for each instruction set.
#pragma once

#include <cstdint>

#include "backends/openvino/winograd/kernels.hpp"

namespace instseg::queries {

// The widths of rows have to be multiples of this.
inline constexpr std::int64_t kWidthMultiple = 64;

// Some of the rows of a matrix, each times a weight.
struct WeightedRows {
  const float* rows;  // [number of rows][width]
  std::int64_t width;
  const std::int32_t* positions;  // the numbers of the rows, [count]
  const float* weights;           // [count]
  std::int32_t count;
};

// Products of pixels with a panel of queries, [pixels][panel].
struct PixelProducts {
  const float* products;
  std::int32_t pixels;
};

struct Kernels {
  // sum[c] = sum over j of weights[j] * rows[positions[j]][c].
  void (*sum_rows)(const WeightedRows& weighted, float* sum);

  // Of each query of a panel of the other kernels (winograd::Kernels::outputs): the largest product
  // so far, largest[query], and that of each pixel, [pixels] rows, `stride` floats apart.
  void (*take_largest)(const PixelProducts& products, float* largest, float* of_pixels,
                       std::int64_t stride);
};

// Of the same instruction set; null where there are none.
const Kernels* find_kernels(const winograd::Kernels& kernels);

extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace instseg::queries
