// A Winograd convolution as an operation of OpenVINO's graphs.
#pragma once

#include <memory>
#include <openvino/op/op.hpp>

#include "backends/openvino/winograd/convolution.hpp"

namespace instseg::winograd {

// The threads of OpenVINO that run the network it is used in; outside of one, all.
class OpenVinoThreads : public Parallel {
 public:
  [[nodiscard]] int threads() const override;
  void run(int count, const std::function<void(int)>& body) const override;
};

// Input and output: [batch][channels][height][width] float32, or [batch][height][width][channels].
class WinogradConvolution : public ov::op::Op {
 public:
  OPENVINO_OP("WinogradConvolution", "instseg")

  struct Layouts {
    bool input_channels_last;
    bool output_channels_last;
  };

  WinogradConvolution(const ov::Output<ov::Node>& input,
                      std::shared_ptr<const Convolution> convolution, Layouts layouts);

  [[nodiscard]] const std::shared_ptr<const Convolution>& convolution() const noexcept {
    return convolution_;
  }
  [[nodiscard]] const Layouts& layouts() const noexcept { return layouts_; }
  // The caller sees to it that what gives the input and takes the output agrees.
  void set_layouts(const Layouts& layouts);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor& visitor) override;
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

 private:
  std::shared_ptr<const Convolution> convolution_;  // of all clones, so that weights are there once
  Layouts layouts_;
};

}  // namespace instseg::winograd
