// The body of kernels.hpp, for one instruction set: included by a file that is compiled for it, and
// that defines a struct Simd in an unnamed namespace. Nothing here may be an inline function of
// another header: the linker could take this file's version for processors that cannot run it.

#include "backends/openvino/winograd/activation_impl.hpp"

namespace instseg::winograd {
namespace {

constexpr int kLanes = Simd::kLanes;
constexpr int kPanel = Simd::kPanelVectors * kLanes;
// Pixels of a run in one row, in whole squares of lanes times lanes.
constexpr int kStagedInputs =
    (kRunTiles * kOutputSide + kKernelSide - 1 + kLanes - 1) / kLanes * kLanes;
constexpr int kStagedOutputs = (kRunTiles * kOutputSide + kLanes - 1) / kLanes * kLanes;

constexpr float kAF = static_cast<float>(kA);
constexpr float kBF = static_cast<float>(kB);
constexpr float kA2F = static_cast<float>(kA2);
constexpr float kB2F = static_cast<float>(kB2);
constexpr float kSumF = static_cast<float>(kA2 + kB2);
constexpr float kA3F = static_cast<float>(kA2 * kA);
constexpr float kB3F = static_cast<float>(kB2 * kB);

static_assert(kA2 * kB2 > 0.999999999 && kA2 * kB2 < 1.000000001,
              "a factor of 1 is left out below");

// B^T times a column of six.
[[gnu::always_inline]] inline void transform_six(const Vector* d, Vector* t) {
  const Vector a = Simd::all(kAF);
  const Vector b = Simd::all(kBF);
  const Vector a2 = Simd::all(kA2F);
  const Vector b2 = Simd::all(kB2F);
  const Vector sum = Simd::all(kSumF);
  t[0] = Simd::negated_multiply_add(sum, d[2], Simd::add(d[0], d[4]));
  const Vector even_a = Simd::negated_multiply_add(b2, d[2], d[4]);
  const Vector odd_a = Simd::negated_multiply_add(b2, d[1], d[3]);
  t[1] = Simd::multiply_add(a, odd_a, even_a);
  t[2] = Simd::negated_multiply_add(a, odd_a, even_a);
  const Vector even_b = Simd::negated_multiply_add(a2, d[2], d[4]);
  const Vector odd_b = Simd::negated_multiply_add(a2, d[1], d[3]);
  t[3] = Simd::multiply_add(b, odd_b, even_b);
  t[4] = Simd::negated_multiply_add(b, odd_b, even_b);
  t[5] = Simd::negated_multiply_add(sum, d[3], Simd::add(d[1], d[5]));
}

// A^T times a column of six.
[[gnu::always_inline]] inline void transform_four(const Vector* m, Vector* y) {
  const Vector a = Simd::all(kAF);
  const Vector b = Simd::all(kBF);
  const Vector a2 = Simd::all(kA2F);
  const Vector b2 = Simd::all(kB2F);
  const Vector a3 = Simd::all(kA3F);
  const Vector b3 = Simd::all(kB3F);
  const Vector sum_a = Simd::add(m[1], m[2]);
  const Vector difference_a = Simd::subtract(m[1], m[2]);
  const Vector sum_b = Simd::add(m[3], m[4]);
  const Vector difference_b = Simd::subtract(m[3], m[4]);
  y[0] = Simd::add(m[0], Simd::add(sum_a, sum_b));
  y[1] = Simd::multiply_add(b, difference_b, Simd::multiply(a, difference_a));
  y[2] = Simd::multiply_add(b2, sum_b, Simd::multiply(a2, sum_a));
  y[3] = Simd::multiply_add(b3, difference_b, Simd::multiply_add(a3, difference_a, m[5]));
}

// B^T d B of the tile whose first pixel is that at `pixels`, into [36] of `transformed`.
// load(i, j): row i, pixel j.
template <class Load>
[[gnu::always_inline]] inline void transform_tile(const Load& load, float* transformed,
                                                  std::int64_t element_stride) {
  Vector half[kTileSide][kTileSide];
#pragma GCC unroll 6
  for (int i = 0; i < kTileSide; ++i) {
    Vector d[kTileSide];
#pragma GCC unroll 6
    for (int j = 0; j < kTileSide; ++j) {
      d[j] = load(i, j);
    }
    transform_six(d, half[i]);
  }
#pragma GCC unroll 6
  for (int j = 0; j < kTileSide; ++j) {
    Vector d[kTileSide];
    Vector t[kTileSide];
#pragma GCC unroll 6
    for (int i = 0; i < kTileSide; ++i) {
      d[i] = half[i][j];
    }
    transform_six(d, t);
#pragma GCC unroll 6
    for (int i = 0; i < kTileSide; ++i) {
      Simd::store(transformed + (i * kTileSide + j) * element_stride, t[i]);
    }
  }
}

int clamped(int value, int most) { return value < 0 ? 0 : value > most ? most : value; }

// Of channels side by side.
void transform_pixels(const float* input, const Layout& layout, const TileRun& run,
                      float* transformed, const TileLayout& tiles) {
  const std::int64_t step = layout.pixel_stride;
  const std::int64_t row_stride = step * layout.width;
  const int row = run.row - 1;
  const float* const image = input + run.image * layout.image_stride;
  const bool rows_inside = row >= 0 && row + kTileSide <= layout.height;
  for (int k = 0; k < run.count; ++k) {
    const int column = run.column - 1 + k * kOutputSide;
    float* const to = transformed + (run.first + k) * tiles.tile_stride;
    if (rows_inside && column >= 0 && column + kTileSide <= layout.width) {
      const float* const from = image + row * row_stride + column * step;
      transform_tile([&](int i, int j) { return Simd::load(from + i * row_stride + j * step); }, to,
                     tiles.element_stride);
      continue;
    }
    transform_tile(
        [&](int i, int j) {
          const int y = row + i;
          const int x = column + j;
          if (y < 0 || y >= layout.height || x < 0 || x >= layout.width) {
            return Simd::all(0.0F);
          }
          return Simd::load(image + y * row_stride + x * step);
        },
        to, tiles.element_stride);
  }
}

// Of channels that lie for themselves: their pixels are first turned into vectors of channels.
void transform_planes(const float* input, const Layout& layout, const TileRun& run,
                      float* transformed, const TileLayout& tiles) {
  alignas(64) float staged[kTileSide][kStagedInputs][kLanes];
  const float* const image = input + run.image * layout.image_stride;
  const int pixels = run.count * kOutputSide + kKernelSide - 1;
  for (int i = 0; i < kTileSide; ++i) {
    const int row = run.row - 1 + i;
    if (row < 0 || row >= layout.height) {
      for (int p = 0; p < pixels; ++p) {
        Simd::store(staged[i][p], Simd::all(0.0F));
      }
      continue;
    }
    for (int p = 0; p < pixels; p += kLanes) {
      const int column = run.column - 1 + p;
      const int begin = column < 0 ? -column : 0;
      const int end = clamped(layout.width - column, kLanes);
      const float* const from = image + static_cast<std::int64_t>(row) * layout.width + column;
      Vector square[kLanes];
      for (int c = 0; c < kLanes; ++c) {
        square[c] = Simd::load_part(from + c * layout.channel_stride, begin, end);
      }
      Simd::transpose(square);
      for (int c = 0; c < kLanes; ++c) {
        Simd::store(staged[i][p + c], square[c]);
      }
    }
  }
  for (int k = 0; k < run.count; ++k) {
    transform_tile([&](int i, int j) { return Simd::load(staged[i][k * kOutputSide + j]); },
                   transformed + (run.first + k) * tiles.tile_stride, tiles.element_stride);
  }
}

void transform_input(const float* input, const Layout& layout, const TileRun& run,
                     float* transformed, const TileLayout& tiles) {
  if (layout.channel_stride == 1) {
    transform_pixels(input, layout, run, transformed, tiles);
  } else {
    transform_planes(input, layout, run, transformed, tiles);
  }
}

template <int kTiles>
void multiply_tiles(const float* transformed, std::int64_t transformed_stride, const float* weights,
                    int channels, float* products, std::int64_t product_stride) {
  constexpr int kVectors = Simd::kPanelVectors;
  Vector sums[kTiles][kVectors];
#pragma GCC unroll 14
  for (int t = 0; t < kTiles; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sums[t][v] = Simd::all(0.0F);
    }
  }
  // Three tiles a pointer: that many a processor's addressing reaches from one.
  constexpr int kPointers = (kTiles + 2) / 3;
  const float* from[kPointers];
#pragma GCC unroll 5
  for (int p = 0; p < kPointers; ++p) {
    from[p] = transformed + 3 * p * transformed_stride;
  }
  for (int c = 0; c < channels; ++c) {
    Vector w[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      w[v] = Simd::load(weights + v * kLanes);
    }
#pragma GCC unroll 14
    for (int t = 0; t < kTiles; ++t) {
      const Vector d = Simd::all(from[t / 3][t % 3 * transformed_stride]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sums[t][v] = Simd::multiply_add(d, w[v], sums[t][v]);
      }
    }
#pragma GCC unroll 5
    for (int p = 0; p < kPointers; ++p) {
      ++from[p];
    }
    weights += kPanel;
  }
#pragma GCC unroll 14
  for (int t = 0; t < kTiles; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      Simd::store(products + t * product_stride + v * kLanes, sums[t][v]);
    }
  }
}

template <int kTiles>
void multiply_up_to(const float* transformed, std::int64_t transformed_stride, const float* weights,
                    int channels, int tiles, float* products, std::int64_t product_stride) {
  if (tiles == kTiles) {
    multiply_tiles<kTiles>(transformed, transformed_stride, weights, channels, products,
                           product_stride);
  } else if constexpr (kTiles > 1) {
    multiply_up_to<kTiles - 1>(transformed, transformed_stride, weights, channels, tiles, products,
                               product_stride);
  }
}

void multiply(const float* transformed, std::int64_t transformed_stride, const float* weights,
              std::int32_t channels, std::int32_t tiles, float* products,
              std::int64_t product_stride) {
  multiply_up_to<Simd::kTiles>(transformed, transformed_stride, weights, channels, tiles, products,
                               product_stride);
}

// A^T m A of a tile. store(i, j, y): row i, pixel j of its outputs.
template <Activation kActivation, class Store>
[[gnu::always_inline]] inline void transform_back(const float* products,
                                                  std::int64_t element_stride, Vector bias,
                                                  const Store& store) {
  Vector half[kOutputSide][kTileSide];
#pragma GCC unroll 6
  for (int j = 0; j < kTileSide; ++j) {
    Vector m[kTileSide];
    Vector y[kOutputSide];
#pragma GCC unroll 6
    for (int i = 0; i < kTileSide; ++i) {
      m[i] = Simd::load(products + (i * kTileSide + j) * element_stride);
    }
    transform_four(m, y);
#pragma GCC unroll 4
    for (int i = 0; i < kOutputSide; ++i) {
      half[i][j] = y[i];
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kOutputSide; ++i) {
    Vector y[kOutputSide];
    transform_four(half[i], y);
#pragma GCC unroll 4
    for (int j = 0; j < kOutputSide; ++j) {
      store(i, j, activated<kActivation>(Simd::add(y[j], bias)));
    }
  }
}

// Into channels side by side. image: the run's first output.
template <Activation kActivation>
void transform_to_pixels(const float* products, const TileLayout& tiles, const TileRun& run,
                         Vector bias, int rows, int columns, float* image, const Layout& layout) {
  const std::int64_t step = layout.pixel_stride;
  const std::int64_t row_stride = step * layout.width;
  for (int k = 0; k < run.count; ++k) {
    const int end = clamped(columns - k * kOutputSide, kOutputSide);
    float* const to = image + k * kOutputSide * step;
    transform_back<kActivation>(products + (run.first + k) * tiles.tile_stride,
                                tiles.element_stride, bias, [&](int i, int j, Vector y) {
                                  if (i < rows && j < end) {
                                    Simd::store(to + i * row_stride + j * step, y);
                                  }
                                });
  }
}

// Into channels that lie for themselves.
template <Activation kActivation>
void transform_to_planes(const float* products, const TileLayout& tiles, const TileRun& run,
                         Vector bias, int rows, int columns, float* image, const Layout& layout) {
  alignas(64) float staged[kOutputSide][kStagedOutputs][kLanes];
  for (int k = 0; k < run.count; ++k) {
    transform_back<kActivation>(
        products + (run.first + k) * tiles.tile_stride, tiles.element_stride, bias,
        [&](int i, int j, Vector y) { Simd::store(staged[i][k * kOutputSide + j], y); });
  }
  for (int i = 0; i < rows; ++i) {
    for (int p = 0; p < columns; p += kLanes) {
      const int end = clamped(columns - p, kLanes);
      Vector square[kLanes];
      for (int c = 0; c < kLanes; ++c) {
        square[c] = c < end ? Simd::load(staged[i][p + c]) : Simd::all(0.0F);
      }
      Simd::transpose(square);
      float* const to = image + static_cast<std::int64_t>(i) * layout.width + p;
      for (int c = 0; c < kLanes; ++c) {
        Simd::store_part(to + c * layout.channel_stride, end, square[c]);
      }
    }
  }
}

template <Activation kActivation>
void transform_activated(const float* products, const TileLayout& tiles, const TileRun& run,
                         const float* bias, float* output, const Layout& layout) {
  const Vector offset = Simd::load(bias);
  float* const image =
      output + run.image * layout.image_stride +
      (static_cast<std::int64_t>(run.row) * layout.width + run.column) * layout.pixel_stride;
  const int rows = clamped(layout.height - run.row, kOutputSide);
  const int columns = clamped(layout.width - run.column, run.count * kOutputSide);
  if (layout.channel_stride == 1) {
    transform_to_pixels<kActivation>(products, tiles, run, offset, rows, columns, image, layout);
  } else {
    transform_to_planes<kActivation>(products, tiles, run, offset, rows, columns, image, layout);
  }
}

void transform_output(const float* products, const TileLayout& tiles, const TileRun& run,
                      const float* bias, Activation activation, float* output,
                      const Layout& layout) {
  switch (activation) {
    case Activation::none:
      transform_activated<Activation::none>(products, tiles, run, bias, output, layout);
      break;
    case Activation::relu:
      transform_activated<Activation::relu>(products, tiles, run, bias, output, layout);
      break;
    case Activation::silu:
      transform_activated<Activation::silu>(products, tiles, run, bias, output, layout);
      break;
  }
}

}  // namespace
}  // namespace instseg::winograd
