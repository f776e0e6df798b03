// Split convolutions and products as operations of OpenVINO's graphs.
#pragma once

#include <memory>
#include <openvino/op/op.hpp>

#include "backends/openvino/split/convolution.hpp"

namespace instseg::split {

// Input and output: [batch][height][width][channels] float32. Where there is a second input, it has
// the shape of the output, and is added before the activation.
class SplitConvolution : public ov::op::Op {
 public:
  OPENVINO_OP("SplitConvolution", "instseg")

  SplitConvolution(const ov::OutputVector& inputs, std::shared_ptr<const Convolution> convolution);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor& visitor) override;
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

 private:
  std::shared_ptr<const Convolution> convolution_;  // of all clones, so that weights are there once
};

// The product with a constant matrix: [...][inputs] float32 gives [...][outputs].
class SplitProduct : public ov::op::Op {
 public:
  OPENVINO_OP("SplitProduct", "instseg")

  // Of one point.
  SplitProduct(const ov::Output<ov::Node>& input, std::shared_ptr<const Convolution> convolution);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor& visitor) override;
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

 private:
  std::shared_ptr<const Convolution> convolution_;
};

}  // namespace instseg::split
