// A convolution of float32 values by the processor's matrix unit (AMX), which multiplies bfloat16.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/openvino/winograd/convolution.hpp"
#include "backends/openvino/winograd/kernels.hpp"

namespace instseg::split {

using winograd::Activation;
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

// Whether this processor has the matrix unit, and the operating system lets the process use it.
bool available();

// Channels are last: [batch][height][width][channels]. May be used by many threads at the same time.
class Convolution {
 public:
  // The number of outputs has to be a multiple of this; that of inputs is free.
  static constexpr std::int64_t kOutputMultiple = 16;

  // weights: [outputs][inputs][kernel_height][kernel_width]. bias: one for each output, or none at
  // all. parallel: for packing the weights.
  Convolution(std::span<const float> weights, std::int64_t outputs, std::int64_t inputs,
              const Geometry& geometry, std::span<const float> bias, Activation activation,
              const Parallel& parallel);

  [[nodiscard]] std::int64_t inputs() const noexcept { return inputs_; }
  [[nodiscard]] std::int64_t outputs() const noexcept { return outputs_; }
  [[nodiscard]] const Geometry& geometry() const noexcept { return geometry_; }
  [[nodiscard]] ImageShape output_shape(const ImageShape& input) const;

  // output = activation(convolution + bias + residual). residual: of the output's shape, or null.
  void run(const float* input, const float* residual, float* output, const ImageShape& shape,
           const Parallel& parallel) const;

 private:
  std::int64_t inputs_;
  std::int64_t outputs_;
  Geometry geometry_;
  Activation activation_;
  std::vector<float> bias_;
  std::vector<float> weights_;
};

}  // namespace instseg::split
