// Runs of set pixels down the columns of whole images, from packed crops.
#pragma once

#include <cstdint>

#include "cuda/kernels/masks.hpp"

namespace instseg::cuda {

// A mask in its image.
struct CroppedMask {
  int x, y, width, height;
  const std::uint32_t* words;
  ImageSize image;

  INSTSEG_KERNEL bool test(int column, int row) const {  // of the crop
    const std::int64_t at = std::int64_t{row} * ceil_div(width, kWarp) + column / kWarp;
    return (words[at] >> (column % kWarp) & 1U) != 0;
  }
};

// Calls visit(position) where the mask changes, counted down the columns of the image, from the
// first pixel of a column of the crop to the one behind its last: the set pixel after an unset one,
// or the other way round. What is before the image counts as unset.
template <class Visit>
INSTSEG_KERNEL void for_each_change(const CroppedMask& mask, int column, Visit&& visit) {
  const bool reaches_bottom = mask.y + mask.height == mask.image.height;
  // A crop of the whole height goes on from column to column.
  bool before =
      mask.y == 0 && reaches_bottom && column > 0 && mask.test(column - 1, mask.height - 1);
  const std::int64_t top = std::int64_t{mask.x + column} * mask.image.height + mask.y;
  for (int row = 0; row < mask.height; ++row) {
    const bool set = mask.test(column, row);
    if (set != before) {
      visit(top + row);
    }
    before = set;
  }
  const std::int64_t end = top + mask.height;
  const bool goes_on = mask.y == 0 && reaches_bottom && column + 1 < mask.width;
  if (before && !goes_on && end < std::int64_t{mask.image.height} * mask.image.width) {
    visit(end);
  }
}

struct RunLengthMasks {
  Instances instances;
  ImageSizes sizes;
  instseg_cuda_masks masks;

  INSTSEG_KERNEL bool exists(std::int64_t n) const {
    return instances.exists(n) && masks.offsets[n + 1] <= masks.words_capacity;
  }
  INSTSEG_KERNEL CroppedMask at(std::int64_t n) const {
    const std::int32_t* const crop = masks.crops + n * 4;
    return {crop[0],
            crop[1],
            crop[2],
            crop[3],
            masks.words + masks.offsets[n],
            sizes.of[instances.image(n)]};
  }
};

// Changes of each column, and 1 for the run at the end. Grid: columns, masks.
struct CountRunsBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  RunLengthMasks masks;
  int columns;           // of the widest image
  std::int64_t* counts;  // masks x (columns + 1), and one that is 0

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const std::int64_t n = block.y;
    block.each([&](int thread) {
      const int column = block.x * kThreads + thread;
      if (column > columns) {
        return;
      }
      std::int64_t count = 0;
      if (masks.exists(n)) {
        const CroppedMask mask = masks.at(n);
        if (column < mask.width) {
          for_each_change(mask, column, [&](std::int64_t) { ++count; });
        } else if (column == columns) {
          count = 1;
        }
      }
      counts[n * (columns + 1) + column] = count;
      if (column == columns && n + 1 == masks.instances.total()) {
        counts[(n + 1) * (columns + 1)] = 0;
      }
    });
  }
};

// Where the runs end, in the place of their lengths. Grid: columns, masks.
struct PlaceRunsBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  RunLengthMasks masks;
  int columns;
  const std::int64_t* places;  // the sums of the counts
  std::int64_t capacity;
  std::uint32_t* ends;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const std::int64_t n = block.y;
    block.each([&](int thread) {
      const int column = block.x * kThreads + thread;
      if (column > columns || !masks.exists(n) || places[(n + 1) * (columns + 1)] > capacity) {
        return;
      }
      const CroppedMask mask = masks.at(n);
      std::int64_t place = places[n * (columns + 1) + column];
      if (column < mask.width) {
        for_each_change(mask, column, [&](std::int64_t position) {
          ends[place++] = static_cast<std::uint32_t>(position);
        });
      } else if (column == columns) {
        ends[place] =
            static_cast<std::uint32_t>(std::int64_t{mask.image.height} * mask.image.width);
      }
    });
  }
};

// From the ends of runs to their lengths. One block per mask; one more for the last offset.
struct RunLengthsBody {
  static constexpr int kThreads = 128;
  using Shared = NoShared;
  std::int64_t total;  // masks
  int columns;
  const std::int64_t* places;
  std::int64_t capacity;
  const std::uint32_t* ends;
  std::int64_t* offsets;
  std::uint32_t* runs;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const std::int64_t n = block.x;
    const std::int64_t begin = total == 0 ? 0 : places[n * (columns + 1)];
    block.each([&](int thread) {
      if (thread == 0) {
        offsets[n] = begin;
      }
      const std::int64_t end = n < total ? places[(n + 1) * (columns + 1)] : begin;
      for (std::int64_t i = begin + thread; end <= capacity && i < end; i += kThreads) {
        runs[i] = i == begin ? ends[i] : ends[i] - ends[i - 1];
      }
    });
  }
};

}  // namespace instseg::cuda
