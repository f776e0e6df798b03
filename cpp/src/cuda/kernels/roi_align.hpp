// RoIAlign over a pyramid: first the cells and weights of all bins of a RoI, then the values.
#pragma once

#include <cstdint>

#include "cuda/execution/block.hpp"
#include "cuda/kernels/detections.hpp"
#include "maths/half.hpp"
#include "maths/roi_axis.hpp"

namespace instseg::cuda {

struct PyramidLevel {
  const float* features;  // images x channels x height x width
  int height, width;
  float stride;
};

struct RoiAlignSettings {
  PyramidLevel levels[INSTSEG_CUDA_MAX_LEVELS];
  int level_count;
  int channels;
  int side;  // bins along each axis
  int sampling_ratio;
  bool aligned;
  int first_level, canonical_level;
  float canonical_size;
  const float* rois;  // images x capacity x 4
  const std::int32_t* counts;
  int capacity;
  // By RoI: its level, or -1 where it reads nothing; bins along y, then along x; weights.
  int* roi_levels;
  RoiBin* bins;  // RoIs x 2 side
  float* weights;
  int weights_per_roi;
};

// Neighbouring bins share two cells at most.
INSTSEG_HOST_DEVICE constexpr int most_weights(int height, int width, int side) {
  return height + width + 4 * side + 8;
}

// Grid: RoIs, images.
struct WeighRoisBody {
  static constexpr int kThreads = 128;  // at least 2 x 64 bins
  struct Shared {
    RoiBin bins[kThreads];
    RoiAxis axes[2];  // y, x
    int level;
  };
  RoiAlignSettings settings;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const int image = block.y;
    if (block.x >= settings.counts[image]) {
      return;
    }
    const std::int64_t roi = std::int64_t{image} * settings.capacity + block.x;
    block.each([&](int thread) {
      if (thread == 0) {
        place(load_box(settings.rois, roi), shared);
      }
    });
    const int side = settings.side;
    const int level = block.uniform(shared.level);
    const bool usable = shared.axes[0].usable && shared.axes[1].usable;
    const auto cells = [&](int thread) {
      return thread < side ? settings.levels[level].height : settings.levels[level].width;
    };
    block.each([&](int thread) {
      if (thread < 2 * side) {
        RoiBin bin;
        if (usable) {
          for_each_sample(shared.axes[thread / side], thread % side, cells(thread),
                          [&](int cell, int next, float, float) {
                            bin.first = bin.count == 0 ? cell : bin.first;
                            bin.count = next - bin.first + 1;
                          });
        }
        shared.bins[thread] = bin;
      }
    });
    block.each([&](int thread) {
      if (thread == 0) {
        settings.roi_levels[roi] = arrange(shared) ? level : -1;
      }
    });
    block.each([&](int thread) {
      if (thread < 2 * side) {
        const RoiBin bin = shared.bins[thread];
        settings.bins[roi * 2 * side + thread] = bin;
        if (usable) {
          weigh(shared.axes[thread / side], thread % side, cells(thread), bin,
                settings.weights + roi * settings.weights_per_roi + bin.offset);
        }
      }
    });
  }

  INSTSEG_KERNEL void place(const Box& box, Shared& shared) const {
    const int level = pyramid_level(box, settings.level_count, settings.first_level,
                                    settings.canonical_level, settings.canonical_size);
    const float stride = settings.levels[level].stride;
    shared.level = level;
    shared.axes[0] =
        roi_axis(box.y1, box.y2, stride, settings.side, settings.sampling_ratio, settings.aligned);
    shared.axes[1] =
        roi_axis(box.x1, box.x2, stride, settings.side, settings.sampling_ratio, settings.aligned);
  }

  // Gives every bin its place among the weights. False where the RoI reads nothing.
  INSTSEG_KERNEL bool arrange(Shared& shared) const {
    bool any[2] = {false, false};
    std::uint32_t offset = 0;
    for (int i = 0; i < 2 * settings.side; ++i) {
      shared.bins[i].offset = offset;
      offset += static_cast<std::uint32_t>(shared.bins[i].count);
      any[i / settings.side] = any[i / settings.side] || shared.bins[i].count > 0;
    }
    return any[0] && any[1];
  }

  INSTSEG_KERNEL static void weigh(const RoiAxis& axis, int index, int cells, const RoiBin& bin,
                                   float* weights) {
    for (int i = 0; i < bin.count; ++i) {
      weights[i] = 0.0F;
    }
    for_each_sample(axis, index, cells, [&](int cell, int next, float near, float far) {
      weights[cell - bin.first] += near;
      weights[next - bin.first] += far;
    });
  }
};

// Grid: parts of a RoI's values, RoIs, images.
template <class Out>
struct PoolRoisBody {
  static constexpr int kThreads = 256;
  static constexpr int kValuesPerBlock = 8 * kThreads;
  using Shared = NoShared;
  RoiAlignSettings settings;
  Out* out;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const int image = block.z;
    const std::int64_t roi = std::int64_t{image} * settings.capacity + block.y;
    const int level = block.y < settings.counts[image] ? settings.roi_levels[roi] : -1;
    const int area = settings.side * settings.side;
    const int values = settings.channels * area;
    const int begin = block.x * kValuesPerBlock;
    const int end = values - begin < kValuesPerBlock ? values : begin + kValuesPerBlock;
    block.each([&](int thread) {
      for (int i = begin + thread; i < end; i += kThreads) {
        const float value =
            level < 0 ? 0.0F : pool(settings.levels[level], image, roi, i / area, i % area);
        store_value(value, out[roi * values + i]);
      }
    });
  }

  INSTSEG_KERNEL float pool(const PyramidLevel& level, int image, std::int64_t roi, int channel,
                            int bin) const {
    const RoiBin* const bins = settings.bins + roi * 2 * settings.side;
    const RoiBin down = bins[bin / settings.side];
    const RoiBin across = bins[settings.side + bin % settings.side];
    if (down.count == 0) {
      return 0.0F;
    }
    const float* const weights = settings.weights + roi * settings.weights_per_roi;
    const float* const plane =
        level.features +
        (std::int64_t{image} * settings.channels + channel) * level.height * level.width;
    const float* const cells = plane + std::int64_t{down.first} * level.width + across.first;
    float sum = 0.0F;
    for (int i = 0; i < across.count; ++i) {
      sum += weights[across.offset + static_cast<std::uint32_t>(i)] *
             blend(cells + i, level.width, weights + down.offset, down.count);
    }
    return sum;
  }

  // The weighted sum down a column, two cells at a time, as the CPU adds them.
  INSTSEG_KERNEL static float blend(const float* cell, std::int64_t width, const float* weights,
                                    int count) {
    if (count == 1) {
      return weights[0] * cell[0];
    }
    float value = weights[0] * cell[0] + weights[1] * cell[width];
    int row = 2;
    for (; row + 2 <= count; row += 2) {
      value += weights[row] * cell[row * width] + weights[row + 1] * cell[(row + 1) * width];
    }
    return row < count ? value + weights[row] * cell[row * width] : value;
  }
};

}  // namespace instseg::cuda
