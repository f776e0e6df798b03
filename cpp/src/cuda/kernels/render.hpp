// Pixels of masks: interpolation, comparison, packing. A warp makes one word at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/kernels/masks.hpp"

namespace instseg::cuda {

// From regions to crops, and to the number of words of each.
struct CropBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  const Region* regions;  // n
  std::int64_t total;
  std::int32_t* crops;  // n x 4: x, y, width, height; all zero where there is no pixel
  std::int64_t* words;  // n + 1; the last one is 0

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each([&](int thread) {
      const std::int64_t n = std::int64_t{block.x} * kThreads + thread;
      if (n < total) {
        const Region region = regions[n];
        const int width = region.x.size();
        const int height = region.y.size();
        const bool any = width > 0 && height > 0;
        std::int32_t* const crop = crops + n * 4;
        crop[0] = any ? region.x.begin : 0;
        crop[1] = any ? region.y.begin : 0;
        crop[2] = any ? width : 0;
        crop[3] = any ? height : 0;
        words[n] = any ? ceil_div(width, kWarp) * height : 0;
      } else if (n == total) {
        words[n] = 0;
      }
    });
  }
};

// How a pixel's value is compared with the threshold.
enum class Comparison { above, at_least };

// What is made of the words: the masks, or their tight bounds.
struct StoreWords {
  std::uint32_t* words;
  std::int64_t capacity;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block&, std::int64_t, std::int64_t at, int, int,
                                 std::uint32_t word) const {
    words[at] = word;
  }
};
struct FindBounds {
  Region* bounds;  // n
  std::int64_t capacity = INT64_MAX;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, std::int64_t n, std::int64_t, int x, int y,
                                 std::uint32_t word) const {
    const Region found{{x + first_bit(word), x + bits_before_last(word)}, {y, y + 1}};
    // Bounds that were read too early are too narrow at most: then the atomics do nothing.
    if (word != 0 && !contains(bounds[n], found)) {
      widen(block, found, bounds[n]);
    }
  }
};

// Taps: 3, or 2 with a border of one cell around the planes' cells.
template <int taps, Comparison comparison, class Target>
struct RenderBody {
  static constexpr int kThreads = 256;
  static constexpr int kBlocks = 512;
  static constexpr int kRun = 8;  // words that a warp takes at a time
  using Shared = NoShared;

  const float* planes;  // n x rows x columns
  int rows, columns;
  const AxisTap* x;  // (n / share) x max_width
  const AxisTap* y;  // (n / share) x max_height
  int max_width, max_height;
  int share;  // instances that have the same taps
  float threshold;
  std::int64_t total;  // n
  const std::int32_t* crops;
  const std::int64_t* offsets;  // n + 1: of the words
  Target target;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    constexpr int kWarps = kThreads / kWarp;
    const std::int64_t end = offsets[total];
    block.each_warp([&](const auto& warp) {
      const std::int64_t first = std::int64_t{block.x} * kWarps + warp.index;
      for (std::int64_t run = first * kRun; run < end;
           run += std::int64_t{block.grid_x} * kWarps * kRun) {
        std::int64_t n = instance_of(run);
        for (std::int64_t at = run; at < run + kRun && at < end; ++at) {
          while (at >= offsets[n + 1]) {
            ++n;
          }
          if (offsets[n + 1] <= target.capacity) {
            write_word(block, warp, n, at);
          }
        }
      }
    });
  }

  // The last instance that begins at or before a word; the ones without words are passed over.
  INSTSEG_KERNEL std::int64_t instance_of(std::int64_t word) const {
    std::int64_t low = 0;
    std::int64_t high = total - 1;
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (offsets[middle + 1] > word) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  template <class Block, class Warp>
  INSTSEG_KERNEL void write_word(const Block& block, const Warp& warp, std::int64_t n,
                                 std::int64_t at) const {
    const std::int32_t* const crop = crops + n * 4;
    const int words = static_cast<int>(ceil_div(crop[2], kWarp));
    const int index = static_cast<int>(at - offsets[n]);
    const int pixel_y = crop[1] + index / words;
    const int column = index % words * kWarp;
    const float* const plane = planes + n * rows * columns;
    const AxisTap down = y[n / share * max_height + pixel_y];
    const AxisTap* const across = x + n / share * max_width + crop[0] + column;
    const std::uint32_t word = warp.ballot(
        [&](int lane) { return column + lane < crop[2] && is_set(plane, down, across[lane]); });
    warp.first([&] { target(block, n, at, crop[0] + column, pixel_y, word); });
  }

  INSTSEG_KERNEL bool is_set(const float* plane, const AxisTap& down, const AxisTap& across) const {
    const float r0 = blend(plane, down.first, across);
    const float r1 = blend(plane, down.first + 1, across);
    float value = down.w0 * r0 + down.w1 * r1;
    if constexpr (taps == 3) {
      value = value + down.w2 * blend(plane, down.first + 2, across);
    }
    return comparison == Comparison::above ? value > threshold : value >= threshold;
  }

  // A cell that stands out has the weight zero: any cell does in its place.
  INSTSEG_KERNEL float blend(const float* plane, int row, const AxisTap& tap) const {
    const float* const cells = plane + std::int64_t{inside(row, rows)} * columns;
    float value =
        tap.w0 * cells[inside(tap.first, columns)] + tap.w1 * cells[inside(tap.first + 1, columns)];
    if constexpr (taps == 3) {
      value = value + tap.w2 * cells[inside(tap.first + 2, columns)];
    }
    return value;
  }
  INSTSEG_KERNEL static int inside(int index, int count) {
    return index < 0 ? 0 : index < count ? index : count - 1;
  }
};

// The maps of the instances' classes as probabilities, with a border of zeros. One block per
// instance.
struct PasteCellsBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  Instances instances;
  const float* logits;  // n x classes x rows x columns
  const std::int32_t* class_ids;
  int classes, rows, columns;
  float* planes;  // n x (rows + 2) x (columns + 2)

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const std::int64_t n = block.x;
    if (!instances.exists(n)) {
      return;
    }
    const float* const map = logits + (n * classes + class_ids[n]) * rows * columns;
    float* const plane = planes + n * (rows + 2) * (columns + 2);
    block.each([&](int thread) {
      for (int i = thread; i < (rows + 2) * (columns + 2); i += kThreads) {
        const int row = i / (columns + 2) - 1;
        const int column = i % (columns + 2) - 1;
        const bool inside = row >= 0 && row < rows && column >= 0 && column < columns;
        plane[i] = inside ? logistic(bound_logit(map[row * columns + column])) : 0.0F;
      }
    });
  }
};

}  // namespace instseg::cuda
