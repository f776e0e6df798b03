// Products of matrices with few rows and many columns: masks from coefficients.
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/execution/block.hpp"

namespace instseg::cuda {

// The rows of the left factor: values of chosen entries. Row r of image i is entry index[r] of the
// image's `entries`, its values `value_stride` apart.
struct ChosenRows {
  const float* values;
  const std::int32_t* indices;  // images x capacity; null: row r is entry r
  const std::int32_t* counts;   // by image
  int capacity;
  std::int64_t image_stride;
  std::int64_t entry_stride;
  std::int64_t value_stride;

  INSTSEG_KERNEL int rows(int image) const {
    return counts[image] < capacity ? counts[image] : capacity;
  }
  INSTSEG_KERNEL const float* row(int image, int row) const {
    const std::int64_t entry =
        indices == nullptr ? row : indices[std::int64_t{image} * capacity + row];
    return values + image * image_stride + entry * entry_stride;
  }
};

// out[image][row][column] = the product.
struct StoreProduct {
  float* out;  // images x capacity x columns
  int capacity;

  template <class Block, class Tile>
  INSTSEG_KERNEL void operator()(const Block& block, int image, int first_row, int rows,
                                 std::int64_t first_column, std::int64_t columns,
                                 Tile& tile) const {
    block.each([&](int thread) {
      for (int row = thread / kWarp; row < rows; row += block.threads / kWarp) {
        float* const target = out + (std::int64_t{image} * capacity + first_row + row) * columns;
        for (int i = thread % kWarp; i < Tile::kColumns; i += kWarp) {
          if (first_column + i < columns) {
            target[first_column + i] = tile.values[row][i];
          }
        }
      }
    });
  }
};

// How the CPU op sums: four channels at a time, or one after the other, fused where it can.
enum class Summation { groups_of_four, fused };

// A block makes 32 rows x 128 columns at a time, a thread 4 x 4 of them. Grid: columns, rows (fewer
// blocks than tiles make several each), images.
template <Summation summation, class Left, class Epilogue>
struct MultiplyBody {
  static constexpr int kThreads = 256;
  static constexpr int kRows = 32;
  static constexpr int kDepth = 16;
  static constexpr int kPerThread = 4;
  static constexpr std::int64_t kMaxRowBlocks = 8;

  struct Tile {
    static constexpr int kColumns = 128;
    float values[kRows][kColumns + 1];
  };
  union Shared {
    struct {
      float left[kDepth][kRows];
      float right[kDepth][Tile::kColumns];
    } factors;
    Tile product;
  };
  struct Sums {
    float value[kPerThread][kPerThread];
  };

  Left left;
  const float* right;  // images x depth x columns
  int depth;
  std::int64_t columns;
  Epilogue epilogue;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const int image = block.z;
    const int rows = left.rows(image);
    for (int first_row = block.y * kRows; first_row < rows; first_row += block.grid_y * kRows) {
      make_tile(block, image, first_row, rows - first_row < kRows ? rows - first_row : kRows,
                shared);
    }
  }

  template <class Block>
  INSTSEG_KERNEL void make_tile(const Block& block, int image, int first_row, int rows,
                                Shared& shared) const {
    const std::int64_t first_column = std::int64_t{block.x} * Tile::kColumns;
    auto sums = block.template local<Sums>();
    for (int begin = 0; begin < depth; begin += kDepth) {
      const int count = depth - begin < kDepth ? depth - begin : kDepth;
      block.each([&](int thread) {
        load(thread, image, first_row, rows, first_column, begin, count, shared);
      });
      block.each([&](int thread) { accumulate(thread, count, shared, sums[thread]); });
    }
    block.each([&](int thread) {
      for (int i = 0; i < kPerThread; ++i) {
        for (int j = 0; j < kPerThread; ++j) {
          shared.product.values[thread / kWarp * kPerThread + i][thread % kWarp + j * kWarp] =
              sums[thread].value[i][j];
        }
      }
    });
    epilogue(block, image, first_row, rows, first_column, columns, shared.product);
  }

  INSTSEG_KERNEL void load(int thread, int image, int first_row, int rows,
                           std::int64_t first_column, int begin, int count, Shared& shared) const {
    for (int i = thread; i < kDepth * kRows; i += kThreads) {
      const int row = i / kDepth;
      const int k = i % kDepth;
      shared.factors.left[k][row] =
          row < rows && k < count
              ? left.row(image, first_row + row)[(begin + k) * left.value_stride]
              : 0.0F;
    }
    const float* const source = right + (std::int64_t{image} * depth + begin) * columns;
    for (int i = thread; i < kDepth * Tile::kColumns; i += kThreads) {
      const int k = i / Tile::kColumns;
      const std::int64_t column = first_column + i % Tile::kColumns;
      shared.factors.right[k][i % Tile::kColumns] =
          k < count && column < columns ? source[k * columns + column] : 0.0F;
    }
  }

  INSTSEG_KERNEL static void accumulate(int thread, int count, const Shared& shared, Sums& sums) {
    const int row = thread / kWarp * kPerThread;
    const int column = thread % kWarp;
    const auto l = [&](int k, int i) { return shared.factors.left[k][row + i]; };
    const auto r = [&](int k, int j) { return shared.factors.right[k][column + j * kWarp]; };
    int k = 0;
    if constexpr (summation == Summation::groups_of_four) {
      for (; k + 4 <= count; k += 4) {
        for (int i = 0; i < kPerThread; ++i) {
          for (int j = 0; j < kPerThread; ++j) {
            sums.value[i][j] += l(k, i) * r(k, j) + l(k + 1, i) * r(k + 1, j) +
                                l(k + 2, i) * r(k + 2, j) + l(k + 3, i) * r(k + 3, j);
          }
        }
      }
    }
    for (; k < count; ++k) {
      for (int i = 0; i < kPerThread; ++i) {
        for (int j = 0; j < kPerThread; ++j) {
          sums.value[i][j] = summation == Summation::fused
                                 ? std::fma(l(k, i), r(k, j), sums.value[i][j])
                                 : sums.value[i][j] + l(k, i) * r(k, j);
        }
      }
    }
  }
};

}  // namespace instseg::cuda
