#include "preprocess/input_size.hpp"

#include <algorithm>

namespace instseg {

PixelSize resized_size(const InputSpec& spec, PixelSize image) {
  if (spec.resize == InputSpec::Resize::stretch) {
    return {spec.height, spec.width};
  }
  const auto [shorter, longer] = std::minmax({image.height, image.width});
  const double scale = std::min(static_cast<double>(spec.short_side) / shorter,
                                static_cast<double>(spec.long_side) / longer);
  const auto scaled = [&](int side) { return std::max(1, static_cast<int>(scale * side + 0.5)); };
  return {scaled(image.height), scaled(image.width)};
}

PixelSize input_size(const InputSpec& spec, std::span<const PixelSize> resized) {
  PixelSize largest;
  for (const PixelSize& size : resized) {
    largest.height = std::max(largest.height, size.height);
    largest.width = std::max(largest.width, size.width);
  }
  const auto padded = [&](int side) {
    return (side + spec.pad_stride - 1) / spec.pad_stride * spec.pad_stride;
  };
  return {padded(largest.height), padded(largest.width)};
}

}  // namespace instseg
