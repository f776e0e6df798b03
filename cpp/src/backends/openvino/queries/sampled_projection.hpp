// What multi-scale deformable attention takes from the feature maps, in float32 on the CPU.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/openvino/queries/kernels.hpp"
#include "backends/openvino/winograd/convolution.hpp"
#include "core/buffer.hpp"

namespace instseg::queries {

// Zhu et al., "Deformable DETR: Deformable Transformers for End-to-End Object Detection", 2020,
// equation 3: head h of a query gets
//
//   sum over its samples j of weight[j] * (W_h x[position[j]] + b_h)
//
// where x are the pixels of all feature maps. The projection W_h is linear, so it is done once with
// the sum of the pixels instead of with every pixel:
//
//   W_h (sum of weight[j] * x[position[j]]) + b_h * (sum of weight[j])
//
// With 300 queries, 8 heads and 8400 pixels of 256 channels that is a thirtieth of the
// multiplications of the projections.
//
// The sums of an output are taken in the same order whatever the number of threads. May be used by
// many threads at the same time.
class SampledProjection {
 public:
  // Of the pixels' channels, a multiple of this.
  static constexpr std::int64_t kInputMultiple = kWidthMultiple;
  // Of the outputs of a head: of the panels of all kernels.
  static constexpr std::int64_t kHeadMultiple = 32;

  // projection: [inputs][outputs]; those of the first head come first. bias: one for each output,
  // or none at all.
  SampledProjection(const winograd::Kernels& products, const Kernels& kernels,
                    std::span<const float> projection, std::int64_t inputs, std::int64_t heads,
                    std::span<const float> bias);

  [[nodiscard]] std::int64_t inputs() const noexcept { return inputs_; }
  [[nodiscard]] std::int64_t heads() const noexcept { return heads_; }
  // Of a head.
  [[nodiscard]] std::int64_t outputs() const noexcept { return outputs_; }

  struct Samples {
    const float* pixels;            // [number of pixels][inputs]
    const std::int32_t* positions;  // of pixels, [queries][heads][count]
    const float* weights;           // the same
    std::int64_t queries;
    std::int32_t count;  // of a head of a query
  };

  // output: [queries][heads][outputs].
  void run(const Samples& samples, float* output, const winograd::Parallel& parallel) const;

 private:
  void run_block(const Samples& samples, std::int64_t first, std::int32_t queries,
                 float* output) const;

  const winograd::Kernels& products_;
  const Kernels& kernels_;
  std::int64_t inputs_;
  std::int64_t heads_;
  std::int64_t outputs_;
  std::vector<float> bias_;  // [heads][outputs]; empty: none
  FloatBuffer weights_;      // [heads][panels][inputs][products.outputs]
};

}  // namespace instseg::queries
