#include "families/roi_head.hpp"

#include <algorithm>
#include <array>

#include "core/stopwatch.hpp"

namespace instseg {

void RoiHead::order(std::span<const ImageRois> images, RoiScratch& scratch) const {
  scratch.order.clear();
  std::size_t first = 0;
  for (const ImageRois& image : images) {
    order_rois(image.boxes, static_cast<int>(image.maps.size()), spec_, scratch.places);
    for (const RoiPlace& place : scratch.places) {
      scratch.order.push_back(first + static_cast<std::size_t>(place.roi));
    }
    first += image.boxes.size();
  }
}

void RoiHead::cut_features(std::span<const ImageRois> images, std::span<const std::size_t> rois,
                           std::size_t size, ThreadPool& pool, RoiScratch& scratch) const {
  std::span<float> out = scratch.features.reserve(size * roi_floats());
  std::size_t image_begin = 0;
  for (const ImageRois& image : images) {
    const std::size_t image_end = image_begin + image.boxes.size();
    scratch.boxes.clear();
    for (; !rois.empty() && rois.front() < image_end; rois = rois.subspan(1)) {
      scratch.boxes.push_back(image.boxes[rois.front() - image_begin]);
    }
    if (!scratch.boxes.empty()) {
      const std::size_t floats = scratch.boxes.size() * roi_floats();
      roi_align(image.maps, scratch.boxes, spec_, pool, scratch.align, out.first(floats));
      out = out.subspan(floats);
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
