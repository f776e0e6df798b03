// One sample and one pixel of the resize that makes the network input. preprocess/sampling.hpp says
// what the three kinds are.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "maths/host_device.hpp"
#include "preprocess/sampling.hpp"

namespace instseg {

// value = level * factor + offset
struct Normalization {
  float factor;
  float offset;
};

// An output sample reads source samples offset[k] with weights weight[k].
template <int taps>
struct SampleTaps {
  int offset[taps];
  float weight[taps];
};

// Source samples per output sample. The 8-bit linear resize divides twice, as OpenCV: the rounding
// of its weights depends on it.
template <Sampling sampling>
INSTSEG_HOST_DEVICE inline double axis_step(int source, int target) {
  if constexpr (sampling == Sampling::fixed_linear) {
    return 1.0 / (static_cast<double>(target) / source);
  } else {
    return static_cast<double>(source) / target;
  }
}

INSTSEG_HOST_DEVICE inline int clamp_sample(int sample, int source) {
  return std::clamp(sample, 0, source - 1);
}

// Keys' kernel with A = -0.75, for distances below 1 and from 1 to 2.
INSTSEG_HOST_DEVICE inline double cubic_near(double d) {
  constexpr double a = -0.75;
  return ((a + 2) * d - (a + 3)) * d * d + 1;
}
INSTSEG_HOST_DEVICE inline double cubic_far(double d) {
  constexpr double a = -0.75;
  return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

// The taps of output sample i on an axis of `source` samples.
template <Sampling sampling>
INSTSEG_HOST_DEVICE inline SampleTaps<taps_of(sampling)> sample_taps(int i, double step,
                                                                     int source) {
  const double position = (i + 0.5) * step - 0.5;
  if constexpr (sampling == Sampling::fixed_linear) {
    float t = static_cast<float>(position);  // in single precision, as OpenCV
    const float floor = std::floor(t);
    t -= floor;
    const int first = static_cast<int>(floor);
    return {{clamp_sample(first, source), clamp_sample(first + 1, source)},
            {std::nearbyint((1.0F - t) * kLinearOne), std::nearbyint(t * kLinearOne)}};
  } else {
    const double floor = std::floor(position);
    const int first = static_cast<int>(floor);
    if constexpr (sampling == Sampling::linear) {
      const auto t = static_cast<float>(position - floor);
      return {{clamp_sample(first, source), clamp_sample(first + 1, source)}, {1.0F - t, t}};
    } else {
      // The distances are 1 + t and so on, of a t that was rounded as it was added to 1.
      const float after_first = 1.0F + static_cast<float>(position - floor);
      const double t = double{after_first} - 1;
      const double w0 = cubic_far(1 + t);
      const double w1 = cubic_near(t);
      const double w2 = cubic_near(1 - t);
      return {{clamp_sample(first - 1, source), clamp_sample(first, source),
               clamp_sample(first + 1, source), clamp_sample(first + 2, source)},
              {static_cast<float>(w0), static_cast<float>(w1), static_cast<float>(w2),
               static_cast<float>(1 - w0 - w1 - w2)}};
    }
  }
}

// One value of a resized row, as it is kept for the vertical pass. The 8-bit linear resize keeps
// sums of 11-bit weights as OpenCV does, without their lowest 4 bits.
INSTSEG_HOST_DEVICE inline void store(float sum, float& kept) { kept = sum; }
INSTSEG_HOST_DEVICE inline void store(float sum, std::int16_t& kept) {
  kept = static_cast<std::int16_t>(static_cast<std::int32_t>(sum) >> 4);
}

// The sums of a cubic resize, along a row and then down a column, in the order and with the fused
// products of OpenCV's IPP build on a processor that has them: where a sum lies between two levels,
// the last bit decides.
INSTSEG_HOST_DEVICE inline float cubic_row_sum(const float (&v)[4], const float* w) {
  return std::fma(v[3], w[3], std::fma(v[2], w[2], std::fma(v[1], w[1], v[0] * w[0])));
}
INSTSEG_HOST_DEVICE inline float cubic_column_sum(const float (&v)[4], const float* w) {
  return std::fma(v[0], w[0], v[1] * w[1]) + std::fma(v[2], w[2], v[3] * w[3]);
}

INSTSEG_HOST_DEVICE inline float clamp_level(float sum) {
  sum = sum < 0.0F ? 0.0F : sum;
  return sum > 255.0F ? 255.0F : sum;
}
// To the nearest whole number, halves to even; for levels.
INSTSEG_HOST_DEVICE inline float round_level(float level) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23
  return (level + kRound) - kRound;
}

INSTSEG_HOST_DEVICE inline float linear_level(float v0, float v1, float w0, float w1) {
  return w0 * v0 + w1 * v1;
}
INSTSEG_HOST_DEVICE inline float fixed_linear_level(std::int16_t v0, std::int16_t v1,
                                                    std::int16_t w0, std::int16_t w1) {
  // OpenCV's order of shifts: each product loses its low half before the sum.
  const auto p0 = static_cast<std::int16_t>((v0 * w0) >> 16);
  const auto p1 = static_cast<std::int16_t>((v1 * w1) >> 16);
  return static_cast<float>(static_cast<std::int16_t>((p0 + p1 + 2) >> 2));
}

INSTSEG_HOST_DEVICE inline float normalize(float level, const Normalization& normalization) {
  return level * normalization.factor + normalization.offset;
}

}  // namespace instseg
