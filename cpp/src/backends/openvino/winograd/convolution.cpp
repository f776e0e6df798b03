#include "backends/openvino/winograd/convolution.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include "backends/openvino/winograd/scratch.hpp"
#include "backends/openvino/winograd/transform.hpp"

namespace instseg::winograd {
namespace {

// Tiles that are worked on together, at most. More of them use the weights more often while they
// are in the cache, but need more of it themselves: 2 MB with 256 channels.
constexpr std::int64_t kBlockTiles = 56;
// With fewer tiles than this for each thread, threads share blocks instead of taking whole ones.
constexpr std::int64_t kLeastTiles = 14;
// Output channels whose products are kept until they are transformed back.
constexpr std::int64_t kGroupOutputs = 64;
// Between rows and planes, which would else lie multiples of a page apart and share few lines of
// the cache.
constexpr std::int64_t kPadding = 16;

constexpr TileLayout kProducts{kBlockTiles * (kGroupOutputs + kPadding) + kPadding,
                               kGroupOutputs + kPadding};

std::int64_t divided_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }

TileLayout transformed_layout(std::int64_t channels) {
  return {kBlockTiles * (channels + kPadding) + kPadding, channels + kPadding};
}

Layout layout(const ImageShape& shape, std::int64_t channels, bool channels_last) {
  const std::int64_t plane = std::int64_t{shape.height} * shape.width;
  return {channels * plane, channels_last ? 1 : plane, channels_last ? channels : 1, shape.height,
          shape.width};
}

// G g G^T of the kernels of some outputs: from kernels[9][count] to transformed[36][count].
// half: of size [18][count], for values in between.
void transform_kernels(const std::vector<double>& kernels, std::size_t count,
                       std::vector<double>& half, std::vector<double>& transformed) {
  std::ranges::fill(half, 0);
  std::ranges::fill(transformed, 0);
  for (std::size_t i = 0; i < kTileSide; ++i) {
    for (std::size_t j = 0; j < kKernelSide; ++j) {
      for (std::size_t k = 0; k < kKernelSide; ++k) {
        const double factor = kKernelTransform[i][k];
        const double* const from = kernels.data() + (k * kKernelSide + j) * count;
        double* const to = half.data() + (i * kKernelSide + j) * count;
        for (std::size_t o = 0; o < count; ++o) {
          to[o] += factor * from[o];
        }
      }
    }
  }
  for (std::size_t i = 0; i < kTileSide; ++i) {
    for (std::size_t j = 0; j < kTileSide; ++j) {
      for (std::size_t k = 0; k < kKernelSide; ++k) {
        const double factor = kKernelTransform[j][k];
        const double* const from = half.data() + (i * kKernelSide + k) * count;
        double* const to = transformed.data() + (i * kTileSide + j) * count;
        for (std::size_t o = 0; o < count; ++o) {
          to[o] += factor * from[o];
        }
      }
    }
  }
}

}  // namespace

// The images of a call, and their tiles: of one image after the other, in rows.
struct Convolution::Call {
  const float* input;
  float* output;
  Layout input_layout;
  Layout output_layout;
  std::int64_t tile_rows;
  std::int64_t tile_columns;
  std::int64_t tiles;
  std::int64_t blocks;

  // Blocks have the same number of tiles, but for one more in some.
  std::int64_t first_tile(std::int64_t block) const { return block * tiles / blocks; }

  std::int64_t tiles_of(std::int64_t block) const {
    return first_tile(block + 1) - first_tile(block);
  }

  template <class Body>
  void for_runs(std::int64_t block, const Body& body) const {
    const std::int64_t begin = first_tile(block);
    const std::int64_t end = first_tile(block + 1);
    for (std::int64_t tile = begin; tile < end;) {
      const std::int64_t row = tile / tile_columns;
      const std::int64_t column = tile % tile_columns;
      const std::int64_t count =
          std::min({std::int64_t{kRunTiles}, tile_columns - column, end - tile});
      body(TileRun{static_cast<std::int32_t>(tile - begin), static_cast<std::int32_t>(count),
                   static_cast<std::int32_t>(row / tile_rows),
                   static_cast<std::int32_t>(row % tile_rows * kOutputSide),
                   static_cast<std::int32_t>(column * kOutputSide)});
      tile += count;
    }
  }
};

Convolution::Convolution(const Kernels& kernels, std::span<const float> weights,
                         std::int64_t outputs, std::int64_t inputs, std::span<const float> bias,
                         Activation activation, const Parallel& parallel)
    : kernels_(kernels),
      inputs_(inputs),
      outputs_(outputs),
      activation_(activation),
      panels_(divided_up(outputs, kernels.outputs)) {
  const std::span<float> kept_bias = bias_.reserve(static_cast<std::size_t>(outputs));
  std::ranges::fill(kept_bias, 0.0F);
  std::ranges::copy(bias, kept_bias.begin());
  weights_.reserve(static_cast<std::size_t>(kTileSize * panels_ * inputs * kernels.outputs));
  const auto pack = [&](int panel) { pack_panel(weights, panel); };
  parallel.run(static_cast<int>(panels_), std::cref(pack));
}

void Convolution::pack_panel(std::span<const float> weights, std::int64_t panel) {
  constexpr std::int64_t kKernelSize = kKernelSide * kKernelSide;
  const std::int64_t count = kernels_.outputs;
  const std::int64_t panel_size = inputs_ * count;
  const std::int64_t first = panel * count;
  const std::int64_t real = std::min(count, outputs_ - first);
  // Outputs that the last panel has too many count as zeros.
  std::vector<double> kernels(static_cast<std::size_t>(kKernelSize * count));
  std::vector<double> half(static_cast<std::size_t>(kTileSide * kKernelSide * count));
  std::vector<double> transformed(static_cast<std::size_t>(kTileSize * count));
  for (std::int64_t i = 0; i < inputs_; ++i) {
    for (std::int64_t o = 0; o < real; ++o) {
      const float* const kernel = weights.data() + ((first + o) * inputs_ + i) * kKernelSize;
      for (std::int64_t k = 0; k < kKernelSize; ++k) {
        kernels[static_cast<std::size_t>(k * count + o)] = static_cast<double>(kernel[k]);
      }
    }
    transform_kernels(kernels, static_cast<std::size_t>(count), half, transformed);
    for (std::int64_t e = 0; e < kTileSize; ++e) {
      float* const to = weights_.data() + (e * panels_ + panel) * panel_size + i * count;
      for (std::int64_t o = 0; o < count; ++o) {
        to[o] = static_cast<float>(transformed[static_cast<std::size_t>(e * count + o)]);
      }
    }
  }
}

void Convolution::transform_block(const Call& call, std::int64_t block, std::int64_t first_channel,
                                  std::int64_t end_channel, float* transformed) const {
  const TileLayout tiles = transformed_layout(inputs_);
  call.for_runs(block, [&](const TileRun& run) {
    for (std::int64_t c = first_channel; c < end_channel; c += kernels_.lanes) {
      kernels_.transform_input(call.input + c * call.input_layout.channel_stride, call.input_layout,
                               run, transformed + c, tiles);
    }
  });
}

void Convolution::produce_block(const Call& call, std::int64_t block, std::int64_t first_panel,
                                std::int64_t end_panel, const float* transformed,
                                FloatBuffer& product_memory) const {
  float* const products =
      product_memory.reserve(static_cast<std::size_t>(kTileSize * kProducts.element_stride)).data();
  const TileLayout tiles = transformed_layout(inputs_);
  const std::int64_t tile_count = call.tiles_of(block);
  const std::int64_t group_panels = kGroupOutputs / kernels_.outputs;
  const std::int64_t panel_size = inputs_ * kernels_.outputs;
  // Parts of the same size: with few tiles the weights are loaded for too little work.
  const std::int64_t parts = divided_up(tile_count, kernels_.tiles);
  for (std::int64_t group = first_panel; group < end_panel; group += group_panels) {
    const std::int64_t group_end = std::min(group + group_panels, end_panel);
    for (int e = 0; e < kTileSize; ++e) {
      for (std::int64_t p = group; p < group_end; ++p) {
        for (std::int64_t part = 0; part < parts; ++part) {
          const std::int64_t first = part * tile_count / parts;
          const std::int64_t end = (part + 1) * tile_count / parts;
          kernels_.multiply(transformed + e * tiles.element_stride + first * tiles.tile_stride,
                            tiles.tile_stride, weights_.data() + (e * panels_ + p) * panel_size,
                            static_cast<std::int32_t>(inputs_),
                            static_cast<std::int32_t>(end - first),
                            products + e * kProducts.element_stride +
                                first * kProducts.tile_stride + (p - group) * kernels_.outputs,
                            kProducts.tile_stride);
        }
      }
    }
    const std::int64_t first_output = group * kernels_.outputs;
    const std::int64_t end_output = std::min(group_end * kernels_.outputs, outputs_);
    call.for_runs(block, [&](const TileRun& run) {
      for (std::int64_t o = first_output; o < end_output; o += kernels_.lanes) {
        kernels_.transform_output(products + (o - first_output), kProducts, run, bias_.data() + o,
                                  activation_, call.output + o * call.output_layout.channel_stride,
                                  call.output_layout);
      }
    });
  }
}

void Convolution::run_blocks(const Call& call, const Parallel& parallel) const {
  const std::int64_t block_floats = kTileSize * transformed_layout(inputs_).element_stride;
  const auto whole_block = [&](int block) {
    const ScratchPool::Lease scratch(ScratchPool::of_process());
    float* const transformed =
        scratch->transformed.reserve(static_cast<std::size_t>(block_floats)).data();
    transform_block(call, block, 0, inputs_, transformed);
    produce_block(call, block, 0, panels_, transformed, scratch->products);
  };
  parallel.run(static_cast<int>(call.blocks), std::cref(whole_block));
}

void Convolution::run_shared(const Call& call, const Parallel& parallel) const {
  const std::int64_t block_floats = kTileSize * transformed_layout(inputs_).element_stride;
  const ScratchPool::Lease shared(ScratchPool::of_process());
  float* const transformed =
      shared->transformed.reserve(static_cast<std::size_t>(call.blocks * block_floats)).data();
  const std::int64_t threads = divided_up(parallel.threads(), call.blocks);  // of a block
  const std::int64_t vectors = inputs_ / kernels_.lanes;
  const std::int64_t shares = std::min(vectors, threads);
  const auto transform = [&](int task) {
    const std::int64_t block = task / shares;
    const std::int64_t share = task % shares;
    transform_block(call, block, share * vectors / shares * kernels_.lanes,
                    (share + 1) * vectors / shares * kernels_.lanes,
                    transformed + block * block_floats);
  };
  parallel.run(static_cast<int>(call.blocks * shares), std::cref(transform));
  const std::int64_t parts = std::min(panels_, threads);
  const auto produce = [&](int task) {
    const std::int64_t block = task / parts;
    const std::int64_t part = task % parts;
    const ScratchPool::Lease scratch(ScratchPool::of_process());
    produce_block(call, block, part * panels_ / parts, (part + 1) * panels_ / parts,
                  transformed + block * block_floats, scratch->products);
  };
  parallel.run(static_cast<int>(call.blocks * parts), std::cref(produce));
}

void Convolution::run(const float* input, bool input_channels_last, float* output,
                      bool output_channels_last, const ImageShape& shape,
                      const Parallel& parallel) const {
  const std::int64_t tile_rows = divided_up(shape.height, kOutputSide);
  const std::int64_t tile_columns = divided_up(shape.width, kOutputSide);
  const std::int64_t tiles = shape.batch * tile_rows * tile_columns;
  const std::int64_t threads = parallel.threads();
  const bool shared = tiles < threads * kLeastTiles;
  const std::int64_t blocks = divided_up(tiles, kBlockTiles);
  const Call call{input, output, layout(shape, inputs_, input_channels_last),
                  layout(shape, outputs_, output_channels_last), tile_rows, tile_columns, tiles,
                  // The same number for each thread.
                  shared ? blocks : divided_up(blocks, threads) * threads};
  if (shared) {
    run_shared(call, parallel);
  } else {
    run_blocks(call, parallel);
  }
}

}  // namespace instseg::winograd
