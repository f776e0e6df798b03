#include "families/image_stage.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

namespace instseg {

StageSpec with_output_order(StageSpec stage, std::span<const std::string_view> names) {
  std::ranges::sort(stage.outputs, {}, [&](const TensorSpec& tensor) {
    return std::ranges::find(names, tensor.name) - names.begin();
  });
  return stage;
}

std::span<float> ImageStageContext::input(int batch, PixelSize size) {
  input_shape_ = {batch, 3, size.height, size.width};
  return input_.reserve(3 * std::size_t(batch) * std::size_t(size.height) *
                        std::size_t(size.width));
}

std::span<const float> ImageStageContext::output(std::size_t index, std::size_t image) const {
  const TensorView& view = outputs_[index];
  const auto sizes = view.shape.subspan(1);
  const auto size = static_cast<std::size_t>(
      std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>()));
  return {static_cast<const float*>(view.data) + image * size, size};
}

void set_times(std::span<Result> results, double inference_ms, double postprocess_ms) {
  for (Result& result : results) {
    result.timings.inference_ms = inference_ms;
    result.timings.postprocess_ms = postprocess_ms;
  }
}

}  // namespace instseg
