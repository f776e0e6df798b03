// Images to the network input: one block makes a tile of one image.
#pragma once

#include <cstdint>

#include "cuda/execution/block.hpp"
#include "cuda/ops_api.h"
#include "maths/half.hpp"
#include "maths/resize.hpp"

namespace instseg::cuda {

struct SourceImage {
  const std::uint8_t* pixels;
  std::int64_t stride;
  int height, width;
  int resized_height, resized_width;
  int pixel_bytes;
  int channel[3];  // of the source, for each plane
};

template <Sampling sampling, class Out>
struct PreprocessBody {
  static constexpr int kThreads = 256;
  static constexpr int kTileWidth = 64;
  static constexpr int kTileHeight = 16;
  static constexpr int kTaps = taps_of(sampling);
  static constexpr int kMaxImages = 32;  // arguments of a kernel have 4 KiB

  struct Shared {
    SampleTaps<kTaps> columns[kTileWidth];
    SampleTaps<kTaps> rows[kTileHeight];
  };

  SourceImage images[kMaxImages];
  Normalization normalization[3];
  int height, width;
  Out* out;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const SourceImage& image = images[block.z];
    const int left = block.x * kTileWidth;
    const int top = block.y * kTileHeight;
    block.each([&](int thread) {
      if (thread < kTileWidth && left + thread < image.resized_width) {
        shared.columns[thread] = sample_taps<sampling>(
            left + thread, axis_step<sampling>(image.width, image.resized_width), image.width);
      }
      const int row = thread - kTileWidth;
      if (row >= 0 && row < kTileHeight && top + row < image.resized_height) {
        shared.rows[row] = sample_taps<sampling>(
            top + row, axis_step<sampling>(image.height, image.resized_height), image.height);
      }
    });
    Out* const planes = out + std::int64_t{block.z} * 3 * height * width;
    block.each([&](int thread) {
      const int x = left + thread % kTileWidth;
      for (int i = thread / kTileWidth; i < kTileHeight; i += kThreads / kTileWidth) {
        if (x < width && top + i < height) {
          write_pixel(image, shared.columns[thread % kTileWidth], shared.rows[i], x, top + i,
                      planes);
        }
      }
    });
  }

  INSTSEG_KERNEL void write_pixel(const SourceImage& image, const SampleTaps<kTaps>& column,
                                  const SampleTaps<kTaps>& row, int x, int y, Out* planes) const {
    const std::int64_t plane = std::int64_t{height} * width;
    Out* target = planes + std::int64_t{y} * width + x;
    const bool inside = x < image.resized_width && y < image.resized_height;
    for (int channel = 0; channel < 3; ++channel, target += plane) {
      store_value(inside ? normalize(level(image, column, row, image.channel[channel]),
                                     normalization[channel])
                         : 0.0F,
                  *target);
    }
  }

  INSTSEG_KERNEL static float level(const SourceImage& image, const SampleTaps<kTaps>& column,
                                    const SampleTaps<kTaps>& row, int channel) {
    if constexpr (sampling == Sampling::fixed_linear) {
      std::int16_t kept[kTaps];
      for (int k = 0; k < kTaps; ++k) {
        store(across(image, column, row.offset[k], channel), kept[k]);
      }
      return fixed_linear_level(kept[0], kept[1], static_cast<std::int16_t>(row.weight[0]),
                                static_cast<std::int16_t>(row.weight[1]));
    } else {
      float kept[kTaps];
      for (int k = 0; k < kTaps; ++k) {
        kept[k] = across(image, column, row.offset[k], channel);
      }
      if constexpr (sampling == Sampling::linear) {
        return linear_level(kept[0], kept[1], row.weight[0], row.weight[1]);
      } else {
        return round_level(clamp_level(cubic_column_sum(kept, row.weight)));
      }
    }
  }

  // The value of a resized row at one column.
  INSTSEG_KERNEL static float across(const SourceImage& image, const SampleTaps<kTaps>& column,
                                     int y, int channel) {
    const std::uint8_t* const row = image.pixels + y * image.stride + channel;
    float pixels[kTaps];
    for (int k = 0; k < kTaps; ++k) {
      pixels[k] = static_cast<float>(row[std::int64_t{column.offset[k]} * image.pixel_bytes]);
    }
    if constexpr (sampling == Sampling::cubic) {
      return cubic_row_sum(pixels, column.weight);
    } else {
      return pixels[0] * column.weight[0] + pixels[1] * column.weight[1];
    }
  }
};

}  // namespace instseg::cuda
