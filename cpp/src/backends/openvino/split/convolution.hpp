// A convolution of float32 values by the processor's matrix unit (AMX), which multiplies bfloat16.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "backends/openvino/split/kernels.hpp"
#include "backends/openvino/winograd/convolution.hpp"
#include "core/buffer.hpp"

namespace instseg::split {

using winograd::ImageShape;
using winograd::Parallel;

// Of one axis pair: no dilation, one group.
struct Geometry {
  std::int32_t kernel_height = 1;
  std::int32_t kernel_width = 1;
  std::int32_t stride = 1;  // in both directions
  std::int32_t top = 0;     // rows and columns of zeros around the image
  std::int32_t left = 0;
  std::int32_t bottom = 0;
  std::int32_t right = 0;
};

// Channels are last: [batch][height][width][channels]. May be used by many threads at the same
// time.
class Convolution {
 public:
  // The number of outputs has to be a multiple of this; that of inputs is free.
  static constexpr std::int64_t kOutputMultiple = 16;

  // weights: [outputs][inputs][kernel_height][kernel_width]. bias: one for each output, or none at
  // all. parallel: for packing the weights.
  Convolution(const Kernels& kernels, std::span<const float> weights, std::int64_t outputs,
              std::int64_t inputs, const Geometry& geometry, std::span<const float> bias,
              Activation activation, const Parallel& parallel);

  [[nodiscard]] std::int64_t inputs() const noexcept { return inputs_; }
  [[nodiscard]] std::int64_t outputs() const noexcept { return outputs_; }
  [[nodiscard]] const Geometry& geometry() const noexcept { return geometry_; }
  [[nodiscard]] ImageShape output_shape(const ImageShape& input) const;

  // output = activation(convolution + bias + residual). residual: of the output's shape, or null.
  void run(const float* input, const float* residual, float* output, const ImageShape& shape,
           const Parallel& parallel) const;

 private:
  struct Call;
  struct Task;
  using Rows = std::array<const float*, kRows>;

  void pack_panel(std::span<const float> weights, std::int64_t panel);
  const float* row_values(const Call& call, std::int64_t row, std::int64_t begin, std::int64_t end,
                          float* memory) const;
  void find_rows(const Task& task, std::int64_t group, std::int64_t begin, std::int64_t end,
                 float* memory, Rows& rows) const;
  Finishing finishing(const Task& task, std::int64_t group, const float* sums) const;
  std::int64_t depth_block(std::int64_t panels) const;
  void run_task(const Call& call, std::int64_t index) const;

  const Kernels& kernels_;
  std::int64_t inputs_;
  std::int64_t outputs_;
  Geometry geometry_;
  bool rows_are_pixels_;  // of the input, one after the other
  Activation activation_;
  std::int64_t depth_;   // values of a sum, in the order [row][column][input] of the kernel
  std::int64_t steps_;   // of kStep of them
  std::int64_t panels_;  // of kOutputs outputs
  FloatBuffer bias_;
  AlignedBuffer<Piece> weights_;  // [panels][steps][kStepSize]
};

}  // namespace instseg::split
