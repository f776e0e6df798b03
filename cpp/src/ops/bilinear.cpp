#include "ops/bilinear.hpp"

#include <algorithm>
#include <cstddef>

namespace instseg {

Reach compose_axis(const ResizeChain& chain, const Interval& kept, AxisTaps& taps) {
  Reach reach;
  reach.pixels = reached_pixels(chain, kept);
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
    const ComposedTaps pixel = compose_pixel(chain, kept, reach.pixels.begin + static_cast<int>(i));
    taps.first[i] = pixel.first;
    taps.w0[i] = pixel.w0;
    taps.w1[i] = pixel.w1;
    taps.w2[i] = pixel.w2;
    if (pixel.first >= 0) {
      reach.cells.begin = std::min(reach.cells.begin, pixel.first);
      reach.cells.end = std::max(reach.cells.end, pixel.last + 1);
    }
  }
  return reach;
}

}  // namespace instseg
