// From the outputs of a SOLOv2 network to the entries of its matrix NMS. `cell` counts the grid
// cells of all levels.
#pragma once

#include <cstdint>
#include <limits>

#include "cuda/kernels/masks.hpp"
#include "cuda/ops_api.h"

namespace instseg::cuda {

struct GridLevel {
  const float* scores;   // cells x classes
  const float* kernels;  // cells x channels
  int first_cell;
  int minimum_area;
};

struct Grids {
  GridLevel levels[INSTSEG_CUDA_MAX_LEVELS];
  int level_count;
  int cells;
  int classes, channels;

  INSTSEG_KERNEL const GridLevel& level(int cell) const {
    int index = 0;
    while (index + 1 < level_count && levels[index + 1].first_cell <= cell) {
      ++index;
    }
    return levels[index];
  }
  INSTSEG_KERNEL const float* scores(int cell) const {
    const GridLevel& grid = level(cell);
    return grid.scores + std::int64_t{cell - grid.first_cell} * classes;
  }
};

// The kernels of chosen cells: the rows of a product.
struct KernelRows {
  Grids grids;
  const std::int32_t* cells;
  const std::int32_t* count;
  static constexpr int value_stride = 1;

  INSTSEG_KERNEL int rows(int) const { return *count; }
  INSTSEG_KERNEL const float* row(int, int row) const {
    const int cell = cells[row];
    const GridLevel& grid = grids.level(cell);
    return grid.kernels + std::int64_t{cell - grid.first_cell} * grids.channels;
  }
};

// How many candidates a cell has, and whether it has one. A warp per cell.
struct CountCandidatesBody {
  static constexpr int kThreads = 256;
  static constexpr int kCells = kThreads / kWarp;
  using Shared = NoShared;
  Grids grids;
  float threshold;
  std::int64_t* candidates;  // cells + 1; the last one is 0
  std::int64_t* kernels;     // cells + 1; the last one is 0

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each_warp([&](const auto& warp) {
      const int cell = block.x * kCells + warp.index;
      if (cell > grids.cells) {
        return;
      }
      int count = 0;
      if (cell < grids.cells) {
        const float* const scores = grids.scores(cell);
        for (int c = 0; c < grids.classes; c += kWarp) {
          count += count_bits(warp.ballot(
              [&](int lane) { return c + lane < grids.classes && scores[c + lane] > threshold; }));
        }
      }
      warp.first([&] {
        candidates[cell] = count;
        kernels[cell] = count > 0 ? 1 : 0;
      });
    });
  }
};

struct SolovEntries {
  std::int32_t* kernels;  // by entry: the row of its kernel
  std::int32_t* class_ids;
  float* scores;
  std::int32_t* areas;
  std::int32_t* count;
  std::int32_t* kernel_cells;  // by row
  std::int32_t* kernel_count;
};

// Writes the entries by cell and class, and the cells that have one. A warp per cell.
struct WriteEntriesBody {
  static constexpr int kThreads = 256;
  static constexpr int kCells = kThreads / kWarp;
  using Shared = NoShared;
  Grids grids;
  float threshold;
  const std::int64_t* entry_offsets;
  const std::int64_t* kernel_offsets;
  SolovEntries entries;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each_warp([&](const auto& warp) {
      const int cell = block.x * kCells + warp.index;
      if (cell == grids.cells) {
        warp.first([&] {
          *entries.count = static_cast<std::int32_t>(entry_offsets[cell]);
          *entries.kernel_count = static_cast<std::int32_t>(kernel_offsets[cell]);
        });
      }
      if (cell >= grids.cells || kernel_offsets[cell] == kernel_offsets[cell + 1]) {
        return;
      }
      const auto kernel = static_cast<std::int32_t>(kernel_offsets[cell]);
      warp.first([&] { entries.kernel_cells[kernel] = cell; });
      const float* const scores = grids.scores(cell);
      std::int64_t at = entry_offsets[cell];
      for (int c = 0; c < grids.classes; c += kWarp) {
        const std::uint32_t chosen = warp.ballot(
            [&](int lane) { return c + lane < grids.classes && scores[c + lane] > threshold; });
        warp.first([&] {
          std::int64_t place = at;
          for (std::uint32_t rest = chosen; rest != 0; rest &= rest - 1, ++place) {
            const int class_id = c + first_bit(rest);
            entries.kernels[place] = kernel;
            entries.class_ids[place] = class_id;
            entries.scores[place] = scores[class_id];
          }
        });
        at += count_bits(chosen);
      }
    });
  }
};

// From a tile of logits to bits, and to the sum of the probabilities of the set cells of each word.
struct BinariseProduct {
  float threshold;
  int words;  // per row
  std::uint64_t* bits;
  float* sums;

  template <class Block, class Tile>
  INSTSEG_KERNEL void operator()(const Block& block, int, int first_row, int rows,
                                 std::int64_t first_column, std::int64_t columns,
                                 Tile& tile) const {
    constexpr int kWordBits = 64;
    constexpr int kWords = Tile::kColumns / kWordBits;
    block.each([&](int thread) {
      const int row = thread / kWords;
      const int begin = thread % kWords * kWordBits;
      if (row >= rows || first_column + begin >= columns) {
        return;
      }
      std::uint64_t word = 0;
      float sum = 0.0F;
      for (int i = 0; i < kWordBits && first_column + begin + i < columns; ++i) {
        const float logit = tile.values[row][begin + i];
        if (logit > threshold) {
          word |= std::uint64_t{1} << i;
          sum += logistic(bound_logit(logit));
        }
      }
      const std::int64_t at =
          std::int64_t{first_row + row} * words + (first_column + begin) / kWordBits;
      bits[at] = word;
      sums[at] = sum;
    });
  }
};

// Area and mean probability of the kernels' masks. A warp per kernel.
struct MeasureMasksBody {
  static constexpr int kThreads = 256;
  static constexpr int kKernels = kThreads / kWarp;
  using Shared = NoShared;
  const std::int32_t* kernel_count;
  int words;
  const std::uint64_t* bits;
  const float* sums;
  std::int32_t* areas;
  float* means;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each_warp([&](const auto& warp) {
      const int kernel = block.x * kKernels + warp.index;
      if (kernel >= *kernel_count) {
        return;
      }
      const std::int64_t row = std::int64_t{kernel} * words;
      const int area = warp.sum([&](int lane) {
        int sum = 0;
        for (int i = lane; i < words; i += kWarp) {
          sum += count_bits(bits[row + i]);
        }
        return sum;
      });
      const double total = warp.sum([&](int lane) {
        double sum = 0.0;
        for (int i = lane; i < words; i += kWarp) {
          sum += double{sums[row + i]};
        }
        return sum;
      });
      warp.first([&] {
        areas[kernel] = area;
        means[kernel] = area > 0 ? static_cast<float>(total / area) : 0.0F;
      });
    });
  }
};

// Lowers the scores by the mean probability; NaN where the mask is too small.
struct ScoreEntriesBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  Grids grids;
  SolovEntries entries;
  const std::int32_t* areas;
  const float* means;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each([&](int thread) {
      const int i = block.x * kThreads + thread;
      if (i >= *entries.count) {
        return;
      }
      const int kernel = entries.kernels[i];
      const int minimum = grids.level(entries.kernel_cells[kernel]).minimum_area;
      entries.areas[i] = areas[kernel];
      entries.scores[i] = areas[kernel] > (minimum > 0 ? minimum : 0)
                              ? entries.scores[i] * means[kernel]
                              : std::numeric_limits<float>::quiet_NaN();
    });
  }
};

// What is known of the kept entries before their masks; indices are their grid cells.
struct WriteInstancesBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  SolovEntries entries;
  const std::int32_t* kept;  // entries
  const std::int32_t* count;
  std::int32_t* cells;
  instseg_cuda_detections out;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each([&](int thread) {
      const int i = block.x * kThreads + thread;
      if (i < *count) {
        cells[i] = entries.kernel_cells[entries.kernels[kept[i]]];
        if (out.indices != nullptr) {
          out.indices[i] = cells[i];
        }
        if (out.class_ids != nullptr) {
          out.class_ids[i] = entries.class_ids[kept[i]];
        }
      }
    });
  }
};

// Boxes that are the tight bounds of masks: their crops.
struct CropBoxesBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  const std::int32_t* crops;
  int total;
  float* boxes;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each([&](int thread) {
      const int i = block.x * kThreads + thread;
      if (i < total) {
        const std::int32_t* const crop = crops + std::int64_t{i} * 4;
        float* const box = boxes + std::int64_t{i} * 4;
        box[0] = static_cast<float>(crop[0]);
        box[1] = static_cast<float>(crop[1]);
        box[2] = static_cast<float>(crop[0] + crop[2]);
        box[3] = static_cast<float>(crop[1] + crop[3]);
      }
    });
  }
};

}  // namespace instseg::cuda
