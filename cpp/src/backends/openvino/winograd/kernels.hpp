// The loops of a Winograd convolution, written once (kernels_impl.hpp) and compiled for each
// instruction set. A vector holds one element of a tile, of as many channels as it has lanes.
#pragma once

#include <cstdint>

namespace instseg::winograd {

// Tiles that lie side by side in one image.
struct TileRun {
  std::int32_t first;  // number of its first tile within the block
  std::int32_t count;
  std::int32_t image;   // of the batch
  std::int32_t row;     // of the first tile's outputs, in pixels
  std::int32_t column;  // the same
};

// How the values of a batch of images lie in memory, in floats.
struct Layout {
  std::int64_t image_stride;
  std::int64_t channel_stride;  // 1: [batch][height][width][channels]; else the channels come
                                // before the pixels
  std::int64_t pixel_stride;    // from a pixel to the next one of its row; rows follow each other
  std::int32_t height;
  std::int32_t width;
};

// Where the elements of tiles lie: [36][tiles][channels], with gaps.
struct TileLayout {
  std::int64_t element_stride;
  std::int64_t tile_stride;
};

// What becomes of y = A^T m A + bias.
enum class Activation {
  none,
  relu,  // max(y, 0)
  silu   // y / (1 + exp(-y))
};

struct Kernels {
  const char* instruction_set;
  int lanes;    // channels of a vector; of inputs and outputs there must be a multiple of it
  int outputs;  // that `multiply` takes together: a panel of the weights
  int tiles;    // that it takes together, at most; it is fastest with all of them

  // B^T d B of one vector of channels. input: the first of them. transformed: the first tile of the
  // block. Pixels outside the image are 0.
  void (*transform_input)(const float* input, const Layout& layout, const TileRun& run,
                          float* transformed, const TileLayout& tiles);

  // products[t][o] = sum over c of transformed[t][c] * weights[c][o], for `tiles` tiles t and a
  // panel of outputs o.
  void (*multiply)(const float* transformed, std::int64_t transformed_stride, const float* weights,
                   std::int32_t channels, std::int32_t tiles, float* products,
                   std::int64_t product_stride);

  // A^T m A of one vector of channels, + bias (one each), through the activation. Outputs outside
  // the image are dropped.
  void (*transform_output)(const float* products, const TileLayout& tiles, const TileRun& run,
                           const float* bias, Activation activation, float* output,
                           const Layout& layout);
};

// A run has no more tiles than this.
inline constexpr int kRunTiles = 14;

// Of the best instruction set of this processor; null where there is none that is worth it.
const Kernels* find_kernels();

// Of one instruction set, "avx512" or "avx2"; null where this build or this processor lacks it.
const Kernels* find_kernels(const char* instruction_set);

extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace instseg::winograd
