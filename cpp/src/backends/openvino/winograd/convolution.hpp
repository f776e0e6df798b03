// A 3x3 convolution by Winograd's minimal filtering, in float32 on the CPU.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "backends/openvino/winograd/kernels.hpp"
#include "core/buffer.hpp"

namespace instseg::winograd {

// Runs body(0) to body(count - 1), in any order and on any thread, and returns when all are done.
class Parallel {
 public:
  Parallel() = default;
  Parallel(const Parallel&) = delete;
  Parallel& operator=(const Parallel&) = delete;
  virtual ~Parallel() = default;

  [[nodiscard]] virtual int threads() const = 0;
  virtual void run(int count, const std::function<void(int)>& body) const = 0;
};

struct ImageShape {
  std::int64_t batch;
  std::int32_t height;
  std::int32_t width;
};

// Stride 1, a border of one pixel of zeros, no dilation, one group. The sums of an output are taken
// in the same order whatever the number of threads and the place of an image in its batch.
//
// May be used by many threads at the same time. Intermediate values take some megabytes for each
// thread that computes, which the process keeps (scratch.hpp).
class Convolution {
 public:
  // The numbers of inputs and outputs have to be multiples of this.
  static constexpr std::int64_t kChannelMultiple = 16;

  // weights: [outputs][inputs][3][3]. bias: one for each output, or none at all. parallel: for the
  // transform of the weights.
  Convolution(const Kernels& kernels, std::span<const float> weights, std::int64_t outputs,
              std::int64_t inputs, std::span<const float> bias, Activation activation,
              const Parallel& parallel);

  [[nodiscard]] std::int64_t inputs() const noexcept { return inputs_; }
  [[nodiscard]] std::int64_t outputs() const noexcept { return outputs_; }

  // channels_last: [batch][height][width][channels], of the input or of the output; else
  // [batch][channels][height][width].
  void run(const float* input, bool input_channels_last, float* output, bool output_channels_last,
           const ImageShape& shape, const Parallel& parallel) const;

 private:
  struct Call;

  void pack_panel(std::span<const float> weights, std::int64_t panel);
  void transform_block(const Call& call, std::int64_t block, std::int64_t first_channel,
                       std::int64_t end_channel, float* transformed) const;
  void produce_block(const Call& call, std::int64_t block, std::int64_t first_panel,
                     std::int64_t end_panel, const float* transformed,
                     FloatBuffer& product_memory) const;
  void run_blocks(const Call& call, const Parallel& parallel) const;
  void run_shared(const Call& call, const Parallel& parallel) const;

  const Kernels& kernels_;
  std::int64_t inputs_;
  std::int64_t outputs_;
  Activation activation_;
  std::int64_t panels_;  // of kernels.outputs
  FloatBuffer bias_;
  FloatBuffer weights_;  // transformed, [36][panels][inputs][kernels.outputs]
};

}  // namespace instseg::winograd
