#include "ops/bilinear.hpp"

#include <array>
#include <cmath>
#include <cstddef>

namespace instseg {
namespace {

// One bilinear sample: source samples first and second, weights 1 - t and t.
struct Sample {
  int first;
  int second;
  float t;
};

// Bilinear resize of one axis; pixel centres at +0.5, edges clamped.
class Resize {
 public:
  Resize(int source_size, int target_size)
      : scale_(static_cast<float>(source_size) / static_cast<float>(target_size)),
        last_(source_size - 1) {}

  [[nodiscard]] Sample operator()(int target) const {
    const double position = std::max(0.0, double{scale_} * (target + 0.5) - 0.5);
    const int first = std::min(static_cast<int>(position), last_);
    const float t =
        std::clamp(static_cast<float>(position) - static_cast<float>(first), 0.0F, 1.0F);
    return {first, std::min(first + 1, last_), t};
  }

 private:
  float scale_;  // single precision, but positions in double: so that the weights are Paddle's
  int last_;
};

bool reaches(const Sample& sample, const Interval& kept) {
  const auto inside = [&](int n) { return n >= kept.begin && n < kept.end; };
  return (sample.t < 1.0F && inside(sample.first)) || (sample.t > 0.0F && inside(sample.second));
}

// The image pixels that sample a pixel of `kept`.
Interval reached_pixels(const ResizeChain& chain, const Resize& to_image, const Interval& kept) {
  // Wide by a few pixels, then narrowed to those that do sample one.
  const double factor = static_cast<double>(chain.image) / chain.visible;
  const auto clamped = [&](double pixel) {
    return static_cast<int>(std::clamp(pixel, 0.0, static_cast<double>(chain.image)));
  };
  Interval pixels{clamped((kept.begin - 1) * factor - 2), clamped((kept.end + 1) * factor + 3)};
  const auto reached = [&](int pixel) { return reaches(to_image(pixel), kept); };
  while (pixels.begin < pixels.end && !reached(pixels.begin)) {
    ++pixels.begin;
  }
  while (pixels.begin < pixels.end && !reached(pixels.end - 1)) {
    --pixels.end;
  }
  return pixels;
}

}  // namespace

Interval whole_numbers(float low, float high, int size) {
  if (!(low < high)) {
    return {};
  }
  const auto limit = static_cast<float>(size);
  return {static_cast<int>(std::clamp(std::ceil(low), 0.0F, limit)),
          static_cast<int>(std::clamp(std::ceil(high), 0.0F, limit))};
}

Reach compose_axis(const ResizeChain& chain, const Interval& kept, AxisTaps& taps) {
  if (kept.size() == 0) {
    return {};
  }
  const Resize to_image(chain.visible, chain.image);
  const Resize to_upsampled(chain.cells, chain.upsampled);
  Reach reach;
  reach.pixels = reached_pixels(chain, to_image, kept);
  if (reach.pixels.size() == 0) {
    return {};
  }

  const auto count = static_cast<std::size_t>(reach.pixels.size());
  taps.first.resize(count);
  taps.w0.resize(count);
  taps.w1.resize(count);
  taps.w2.resize(count);
  reach.cells = {chain.cells, 0};
  for (std::size_t i = 0; i < count; ++i) {
    const Sample outer = to_image(reach.pixels.begin + static_cast<int>(i));
    // Neighbouring upsampled pixels are at most one cell apart, so three cells hold all four taps.
    std::array<float, 3> weights{};
    int first = -1;
    const auto add = [&](int pixel, float weight) {
      if (weight <= 0.0F || pixel < kept.begin || pixel >= kept.end) {
        return;
      }
      const Sample inner = to_upsampled(pixel);
      if (first < 0) {
        first = inner.first;
      }
      weights[static_cast<std::size_t>(inner.first - first)] += weight * (1.0F - inner.t);
      weights[static_cast<std::size_t>(inner.second - first)] += weight * inner.t;
      reach.cells.begin = std::min(reach.cells.begin, inner.first);
      reach.cells.end = std::max(reach.cells.end, inner.second + 1);
    };
    add(outer.first, 1.0F - outer.t);
    add(outer.second, outer.t);
    taps.first[i] = first;
    taps.w0[i] = weights[0];
    taps.w1[i] = weights[1];
    taps.w2[i] = weights[2];
  }
  return reach;
}

}  // namespace instseg
