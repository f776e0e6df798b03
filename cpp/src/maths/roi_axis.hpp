// RoIAlign along one axis: which cells a bin reads with which weights, and which level a RoI reads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "instseg/mask.hpp"
#include "maths/host_device.hpp"

namespace instseg {

// Weights [offset, offset + count) of cells [first, first + count).
struct RoiBin {
  int first = 0;
  int count = 0;
  std::uint32_t offset = 0;
};

// One axis of a RoI in cells. `samples` per bin; usable: false where it reads nothing.
struct RoiAxis {
  float begin = 0.0F;
  float bin_size = 0.0F;
  int samples = 0;
  bool usable = false;
};

// From `low` to `high`, in network pixels. sampling_ratio 0: as many samples as a bin has cells,
// rounded up.
INSTSEG_HOST_DEVICE inline RoiAxis roi_axis(float low, float high, float stride, int bins,
                                            int sampling_ratio, bool aligned) {
  constexpr float kMaxCoordinate = 16777216.0F;
  const float scale = 1.0F / stride;
  const float offset = aligned ? 0.5F : 0.0F;
  const float begin = low * scale - offset;
  const float end = high * scale - offset;
  const bool usable = std::abs(begin) < kMaxCoordinate && std::abs(end) < kMaxCoordinate;
  const float size = aligned ? end - begin : std::max(end - begin, 1.0F);
  if (!usable || !(size > 0.0F)) {
    return {};
  }
  const float bin_size = size / static_cast<float>(bins);
  const int samples = sampling_ratio > 0 ? sampling_ratio : static_cast<int>(std::ceil(bin_size));
  return {begin, bin_size, samples, true};
}

// Calls visit(cell, next, weight of cell, weight of next) for the samples of bin `index` that lie
// on the map, one after the other: evenly over [begin + index * size, begin + (index + 1) * size).
template <class Visit>
INSTSEG_HOST_DEVICE inline void for_each_sample(const RoiAxis& axis, int index, int cells,
                                                Visit&& visit) {
  const float share = 1.0F / static_cast<float>(axis.samples);
  const double bin_begin = static_cast<double>(index) * double{axis.bin_size};
  // A wide margin around the samples that lie on the map: a huge bin has many others.
  const double origin = double{axis.begin} + bin_begin;
  const double step = double{axis.bin_size} / axis.samples;
  const auto bounded = [&](double number) {
    return static_cast<int>(std::clamp(number, 0.0, static_cast<double>(axis.samples)));
  };
  const int first = step > 0.0 ? bounded((-1.0 - origin) / step - 2.0) : 0;
  const int last = step > 0.0 ? bounded((cells - origin) / step + 3.0) : axis.samples;
  for (int i = first; i < last; ++i) {
    const float in_bin =
        (static_cast<float>(i) + 0.5F) * axis.bin_size / static_cast<float>(axis.samples);
    // Rounded where Paddle's binaries round: they fuse the product of this sum.
    const float position = axis.begin + static_cast<float>(bin_begin + double{in_bin});
    if (position < -1.0F || position > static_cast<float>(cells)) {
      continue;
    }
    const float clamped = std::max(position, 0.0F);
    const int cell = std::min(static_cast<int>(clamped), cells - 1);
    const int next = std::min(cell + 1, cells - 1);
    const float t = next == cell ? 0.0F : clamped - static_cast<float>(cell);
    visit(cell, next, share * (1.0F - t), share * t);
  }
}

// Which level of `levels` a box reads; ops/roi_align.hpp says what the numbers mean.
INSTSEG_HOST_DEVICE inline int pyramid_level(const Box& roi, int levels, int first_level,
                                             int canonical_level, float canonical_size) {
  const float width = roi.x2 - roi.x1;
  const float height = roi.y2 - roi.y1;
  const float area = width >= 0.0F && height >= 0.0F ? width * height : 0.0F;
  const float number = std::floor(std::log2(std::sqrt(area) / canonical_size + 1e-6F) +
                                  static_cast<float>(canonical_level));
  const float index = number - static_cast<float>(first_level);
  return index > 0.0F ? static_cast<int>(std::min(index, static_cast<float>(levels - 1))) : 0;
}

}  // namespace instseg
