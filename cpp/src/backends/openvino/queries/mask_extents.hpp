// How far the masks of queries reach, in float32 on the CPU.
#pragma once

#include <cstdint>

#include "backends/openvino/queries/kernels.hpp"
#include "backends/openvino/winograd/convolution.hpp"

namespace instseg::queries {

// The mask of a query is the product of its embedding with the mask features of each pixel. Of each
// row and of each column of it only the largest value is wanted, and the masks themselves are never
// in memory: those of 300 queries at 160 x 160 are 31 MB.
struct MaskExtents {
  const float* features;    // [height][width][channels]
  const float* embeddings;  // [queries][channels]
  std::int32_t height;
  std::int32_t width;
  std::int32_t channels;
  std::int32_t queries;
  float* of_rows;     // [queries][height]
  float* of_columns;  // [queries][width]
};

// The results do not depend on the number of threads.
void find_extents(const MaskExtents& extents, const winograd::Kernels& products,
                  const Kernels& kernels, const winograd::Parallel& parallel);

}  // namespace instseg::queries
