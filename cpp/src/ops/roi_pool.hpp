// The inner part of RoIAlign: the bins of one RoI, for eight channels at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "maths/roi_axis.hpp"
#include "ops/transpose.hpp"

namespace instseg {

// Channels that are pooled together, and columns that are blended together: a vector of AVX2.
inline constexpr int kPoolLanes = 8;

// What a RoI reads of a plane. The columns are those of all its bins, and at least kPoolLanes where
// the map has so many.
struct RoiWindow {
  std::span<const RoiBin> row_bins;
  std::span<const RoiBin> column_bins;
  const float* weights = nullptr;  // of the bins
  int first_column = 0;
  int columns = 0;
};

// Planes of consecutive channels, of which the first is at `data`.
struct PlaneBlock {
  const float* data = nullptr;
  std::ptrdiff_t plane = 0;  // floats from one to the next
  int width = 0;
  int channels = 0;  // 1 to kPoolLanes
};

// Floats of one row of a window, kPoolLanes channels of each column; narrow ones are filled up.
constexpr std::size_t pool_row_size(int columns) {
  return static_cast<std::size_t>(std::max(columns, kPoolLanes)) * kPoolLanes;
}

// Floats that PoolRoi needs: such a row, and as much for each bin.
constexpr std::size_t pool_scratch_size(int columns, int bins_per_side) {
  const auto side = static_cast<std::size_t>(bins_per_side);
  return pool_row_size(columns) + side * side * kPoolLanes;
}

// Writes channels x rows x columns of bins. First rows are blended, along the columns of one plane;
// then the blended rows of all planes are transposed, so that the sums along a row, which are short
// and begin anywhere, are made for all channels at once.
struct PoolRoi {
  using Floats = float __attribute__((vector_size(kPoolLanes * sizeof(float))));

  [[gnu::always_inline]] static void run(const RoiWindow& roi, const PlaneBlock& planes,
                                         float* scratch, float* out) {
    float* const row = scratch;  // columns x kPoolLanes channels
    float* const bins = scratch + pool_row_size(roi.columns);
    float* bin = bins;  // bins x kPoolLanes channels
    for (const RoiBin& rows : roi.row_bins) {
      const std::size_t values = roi.column_bins.size() * kPoolLanes;
      if (rows.count == 0) {
        bin = std::fill_n(bin, values, 0.0F);
        continue;
      }
      blend(roi, planes, rows, row);
      sum_columns(roi, row, bin);
      bin += values;
    }
    const std::size_t count = roi.row_bins.size() * roi.column_bins.size();
    if (planes.channels == kPoolLanes) {
      transpose_columns<kPoolLanes>(bins, count, out);
      return;
    }
    for (int channel = 0; channel < planes.channels; ++channel) {
      for (std::size_t i = 0; i < count; ++i) {
        *out++ = bins[i * kPoolLanes + static_cast<std::size_t>(channel)];
      }
    }
  }

 private:
  // One bin's rows, summed with their weights, two rows at a time, and transposed.
  [[gnu::always_inline]] static void blend(const RoiWindow& roi, const PlaneBlock& planes,
                                           const RoiBin& rows, float* out) {
    const float* const weights = roi.weights + rows.offset;
    const float* const first =
        planes.data + std::ptrdiff_t{rows.first} * planes.width + roi.first_column;
    // The last tile ends with the window; it may overlap the one before.
    for (int end = kPoolLanes;; end = std::min(end + kPoolLanes, roi.columns)) {
      const int column = end - kPoolLanes;
      float tile[kPoolLanes * kPoolLanes];
      for (int channel = 0; channel < kPoolLanes; ++channel) {
        // Channels that are not there are made from the last one, and not used.
        const float* const source =
            first + std::min(channel, planes.channels - 1) * planes.plane + column;
        float* const target = tile + channel * kPoolLanes;
        if (roi.columns >= kPoolLanes) {
          blend_lanes(source, planes.width, weights, rows.count, target);
        } else {
          blend_few(source, planes.width, weights, rows.count, roi.columns, target);
        }
      }
      transpose_tile<kPoolLanes>(tile, out + std::ptrdiff_t{column} * kPoolLanes);
      if (end >= roi.columns) {
        return;
      }
    }
  }

  [[gnu::always_inline]] static void blend_lanes(const float* source, std::ptrdiff_t width,
                                                 const float* weights, int count, float* out) {
    Floats sum{};
    Floats cells;
    Floats below;
    int row = 0;
    for (; row + 2 <= count; row += 2, source += 2 * width) {
      std::memcpy(&cells, source, sizeof cells);
      std::memcpy(&below, source + width, sizeof below);
      sum += weights[row] * cells + weights[row + 1] * below;
    }
    if (row < count) {
      std::memcpy(&cells, source, sizeof cells);
      sum += weights[row] * cells;
    }
    std::memcpy(out, &sum, sizeof sum);
  }

  // The same where a map has too few columns for a vector.
  [[gnu::always_inline]] static void blend_few(const float* source, std::ptrdiff_t width,
                                               const float* weights, int count, int columns,
                                               float* out) {
    std::fill_n(out, kPoolLanes, 0.0F);
    for (int i = 0; i < columns; ++i) {
      int row = 0;
      for (; row + 2 <= count; row += 2) {
        out[i] += weights[row] * source[row * width + i] +
                  weights[row + 1] * source[(row + 1) * width + i];
      }
      if (row < count) {
        out[i] += weights[row] * source[row * width + i];
      }
    }
  }

  [[gnu::always_inline]] static void sum_columns(const RoiWindow& roi, const float* row,
                                                 float* out) {
    for (const RoiBin& bin : roi.column_bins) {
      const float* const weights = roi.weights + bin.offset;
      const std::ptrdiff_t first = bin.first - roi.first_column;  // only of bins that read cells
      Floats sum{};
      for (int i = 0; i < bin.count; ++i) {
        Floats cell;
        std::memcpy(&cell, row + (first + i) * kPoolLanes, sizeof cell);
        sum += weights[i] * cell;
      }
      std::memcpy(out, &sum, sizeof sum);
      out += kPoolLanes;
    }
  }
};

}  // namespace instseg
