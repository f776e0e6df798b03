// Where the samples of a resized axis come from.
#pragma once

#include <vector>

namespace instseg {

// Weights of the samples: OpenCV's for 8-bit images (integers) and for float images, and Keys'.
enum class Sampling { fixed_linear, linear, cubic };

// Taps per output sample.
constexpr int taps_of(Sampling sampling) { return sampling == Sampling::cubic ? 4 : 2; }

// Output sample i of the axis reads source samples offsets[i * taps + k] with weights
// weights[i * taps + k], k in [0, taps). Offsets stay inside the source: the border is replicated.
struct AxisSampling {
  int source = 0;
  int target = 0;
  Sampling sampling = Sampling::fixed_linear;
  std::vector<int> offsets;
  // linear, cubic: sum to 1. fixed_linear: 11-bit integers, sum to kLinearOne.
  std::vector<float> weights;
  // Only where much of the source is not read: the source samples that are, rising. Offsets then
  // count positions in this list.
  std::vector<int> gathered;

  // Does nothing when the tables already fit. `gather`: fill `gathered` where it pays.
  void prepare(int source_size, int target_size, Sampling kind, bool gather);
};

inline constexpr int kLinearOne = 1 << 11;

}  // namespace instseg
