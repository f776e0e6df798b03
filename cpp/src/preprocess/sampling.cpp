#include "preprocess/sampling.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace instseg {
namespace {

// Keys' kernel with A = -0.75 at distances 1 + t, t, 1 - t, 2 - t; t in [0, 1).
std::array<double, 4> cubic_weights(double t) {
  constexpr double a = -0.75;
  const auto near = [](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  const double w0 = far(1 + t);
  const double w1 = near(t);
  const double w2 = near(1 - t);
  return {w0, w1, w2, 1 - w0 - w1 - w2};
}

void set_linear(AxisSampling& axis, int i, int first, float w0, float w1) {
  const std::size_t at = static_cast<std::size_t>(i) * 2;
  axis.offsets[at] = std::clamp(first, 0, axis.source - 1);
  axis.offsets[at + 1] = std::clamp(first + 1, 0, axis.source - 1);
  axis.weights[at] = w0;
  axis.weights[at + 1] = w1;
}

void fill_fixed_linear(AxisSampling& axis) {
  // In single precision and with this division, as OpenCV: the rounding to 11 bits depends on it.
  const double step = 1.0 / (static_cast<double>(axis.target) / axis.source);
  for (int i = 0; i < axis.target; ++i) {
    float t = static_cast<float>((i + 0.5) * step - 0.5);
    const float floor = std::floor(t);
    t -= floor;
    set_linear(axis, i, static_cast<int>(floor), std::nearbyint((1.0F - t) * kLinearOne),
               std::nearbyint(t * kLinearOne));
  }
}

void fill_linear(AxisSampling& axis) {
  const double step = static_cast<double>(axis.source) / axis.target;
  for (int i = 0; i < axis.target; ++i) {
    const double position = (i + 0.5) * step - 0.5;
    const double floor = std::floor(position);
    const auto t = static_cast<float>(position - floor);
    set_linear(axis, i, static_cast<int>(floor), 1.0F - t, t);
  }
}

void fill_cubic(AxisSampling& axis) {
  const double step = static_cast<double>(axis.source) / axis.target;
  for (int i = 0; i < axis.target; ++i) {
    const double position = (i + 0.5) * step - 0.5;
    const double floor = std::floor(position);
    const std::array<double, 4> weights = cubic_weights(position - floor);
    for (int k = 0; k < 4; ++k) {
      const std::size_t at = static_cast<std::size_t>(i) * 4 + static_cast<std::size_t>(k);
      axis.offsets[at] = std::clamp(static_cast<int>(floor) - 1 + k, 0, axis.source - 1);
      axis.weights[at] = static_cast<float>(weights[static_cast<std::size_t>(k)]);
    }
  }
}

}  // namespace

void AxisSampling::prepare(int source_size, int target_size, Sampling kind, bool gather) {
  if (source == source_size && target == target_size && sampling == kind && !offsets.empty()) {
    return;
  }
  source = source_size;
  target = target_size;
  sampling = kind;
  const std::size_t count = static_cast<std::size_t>(target_size) * taps_of(kind);
  offsets.resize(count);
  weights.resize(count);
  gathered.clear();
  switch (kind) {
    case Sampling::fixed_linear:
      fill_fixed_linear(*this);
      break;
    case Sampling::linear:
      fill_linear(*this);
      break;
    case Sampling::cubic:
      fill_cubic(*this);
      break;
  }
  // One gathered sample costs about as much as a few that are read in passing.
  if (!gather || source_size / 4 < static_cast<std::ptrdiff_t>(count)) {
    return;
  }
  gathered = offsets;
  std::ranges::sort(gathered);
  gathered.erase(std::unique(gathered.begin(), gathered.end()), gathered.end());
  for (int& offset : offsets) {
    offset = static_cast<int>(std::ranges::lower_bound(gathered, offset) - gathered.begin());
  }
}

}  // namespace instseg
