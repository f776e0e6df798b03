#include "preprocess/sampling.hpp"

#include <algorithm>
#include <cstddef>

#include "maths/resize.hpp"

namespace instseg {
namespace {

template <Sampling sampling>
void fill(AxisSampling& axis) {
  constexpr int kTaps = taps_of(sampling);
  const double step = axis_step<sampling>(axis.source, axis.target);
  for (int i = 0; i < axis.target; ++i) {
    const SampleTaps<kTaps> taps = sample_taps<sampling>(i, step, axis.source);
    const std::ptrdiff_t at = std::ptrdiff_t{i} * kTaps;
    std::copy_n(taps.offset, kTaps, axis.offsets.begin() + at);
    std::copy_n(taps.weight, kTaps, axis.weights.begin() + at);
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
      fill<Sampling::fixed_linear>(*this);
      break;
    case Sampling::linear:
      fill<Sampling::linear>(*this);
      break;
    case Sampling::cubic:
      fill<Sampling::cubic>(*this);
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
