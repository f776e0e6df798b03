#include "families/roi_head.hpp"

#include <algorithm>
#include <array>

#include "core/stopwatch.hpp"

namespace instseg {

void RoiHead::cut_features(std::span<const ImageRois> images, std::size_t first, std::size_t count,
                           std::size_t size, ThreadPool& pool, RoiScratch& scratch) const {
  std::span<float> out = scratch.features.reserve(size * roi_floats());
  const std::size_t end = first + count;
  std::size_t image_begin = 0;
  for (const ImageRois& image : images) {
    const std::size_t image_end = image_begin + image.boxes.size();
    const std::size_t begin = std::max(first, image_begin);
    if (begin < std::min(end, image_end)) {
      const std::size_t rois = std::min(end, image_end) - begin;
      roi_align(image.maps, image.boxes.subspan(begin - image_begin, rois), spec_, pool,
                scratch.align, out.first(rois * roi_floats()));
      out = out.subspan(rois * roi_floats());
    }
    image_begin = image_end;
  }
  std::ranges::fill(out, 0.0F);
}

std::span<const TensorView> RoiHead::infer(std::size_t size, RoiScratch& scratch,
                                           double& milliseconds) {
  const std::array<std::int64_t, 4> shape{static_cast<std::int64_t>(size), spec_.channels,
                                          spec_.output_size, spec_.output_size};
  const Stopwatch stopwatch;
  const std::span<const TensorView> outputs =
      inference_.run(std::array{TensorView{scratch.features.data(), shape}});
  milliseconds += stopwatch.milliseconds();
  return outputs;
}

}  // namespace instseg
