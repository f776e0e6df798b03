// The inner loops of preprocess: one row at a time, written so that compilers vectorise them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "maths/resize.hpp"
#include "preprocess/sampling.hpp"

namespace instseg {

// Four channels at a time, so that a sample is one vector; with three, the fourth is the next
// sample's first and is thrown away. `stride`: values per source sample.
template <int taps>
void resize_row_interleaved(const float* __restrict source, int stride, const AxisSampling& axis,
                            float* __restrict out) {
  const int* offset = axis.offsets.data();
  const float* weight = axis.weights.data();
  for (int i = 0; i < axis.target; ++i, offset += taps, weight += taps, out += 4) {
    float sum[4] = {};
    for (int k = 0; k < taps; ++k) {
      const float* sample = source + std::ptrdiff_t{offset[k]} * stride;
      for (int channel = 0; channel < 4; ++channel) {
        sum[channel] += weight[k] * sample[channel];
      }
    }
    for (int channel = 0; channel < 4; ++channel) {
      out[channel] = sum[channel];
    }
  }
}

template <int taps>
void resize_row_gray(const float* __restrict source, const AxisSampling& axis,
                     float* __restrict out) {
  const int* offset = axis.offsets.data();
  const float* weight = axis.weights.data();
  for (int i = 0; i < axis.target; ++i, offset += taps, weight += taps) {
    float sum = 0.0F;
    for (int k = 0; k < taps; ++k) {
      sum += weight[k] * source[offset[k]];
    }
    out[i] = sum;
  }
}

template <class Kept>
void split_planes(const float* __restrict interleaved, int width, Kept* __restrict planes) {
  Kept* __restrict second = planes + width;
  Kept* __restrict third = second + width;
  for (int i = 0; i < width; ++i) {
    store(interleaved[i * 4], planes[i]);
    store(interleaved[i * 4 + 1], second[i]);
    store(interleaved[i * 4 + 2], third[i]);
  }
}

// Sums of 16 products in another order, or without fused products, differ by less.
inline constexpr float kCubicNoise = 1.0F / 2048;

// Resized rows to one row of the network input. `settle(i)` gives the level of a value whose sum
// lies so near the middle between two levels that the order of its additions matters; that is one
// in a thousand.
template <class Settle>
void combine_cubic(const std::array<const float*, 4>& rows, const float* weights, int width,
                   const Normalization& normalization, float* __restrict out,
                   const Settle& settle) {
  const float* __restrict r0 = rows[0];
  const float* __restrict r1 = rows[1];
  const float* __restrict r2 = rows[2];
  const float* __restrict r3 = rows[3];
  const float w0 = weights[0];
  const float w1 = weights[1];
  const float w2 = weights[2];
  const float w3 = weights[3];
  const auto level_of = [&](int i) {
    return clamp_level(w0 * r0[i] + w1 * r1[i] + w2 * r2[i] + w3 * r3[i]);
  };
  const auto is_near = [](float level) {
    return std::abs(level - round_level(level)) > 0.5F - kCubicNoise;
  };
  constexpr int kBlock = 64;
  for (int begin = 0; begin < width; begin += kBlock) {
    const int end = std::min(begin + kBlock, width);
    int near = 0;
    for (int i = begin; i < end; ++i) {
      const float level = level_of(i);
      out[i] = normalize(round_level(level), normalization);
      near |= static_cast<int>(is_near(level));
    }
    if (near == 0) {
      continue;
    }
    for (int i = begin; i < end; ++i) {
      if (is_near(level_of(i))) {
        out[i] = normalize(settle(i), normalization);
      }
    }
  }
}

// As combine_cubic; the first two rows count.
inline void combine_linear(const std::array<const float*, 4>& rows, const float* weights, int width,
                           const Normalization& normalization, float* __restrict out) {
  const float* __restrict r0 = rows[0];
  const float* __restrict r1 = rows[1];
  const float w0 = weights[0];
  const float w1 = weights[1];
  for (int i = 0; i < width; ++i) {
    out[i] = normalize(linear_level(r0[i], r1[i], w0, w1), normalization);
  }
}

inline void combine_fixed_linear(const std::array<const std::int16_t*, 4>& rows,
                                 const float* weights, int width,
                                 const Normalization& normalization, float* __restrict out) {
  const std::int16_t* __restrict r0 = rows[0];
  const std::int16_t* __restrict r1 = rows[1];
  const auto w0 = static_cast<std::int16_t>(weights[0]);
  const auto w1 = static_cast<std::int16_t>(weights[1]);
  for (int i = 0; i < width; ++i) {
    out[i] = normalize(fixed_linear_level(r0[i], r1[i], w0, w1), normalization);
  }
}

}  // namespace instseg
