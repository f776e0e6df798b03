// What queries do, as operations of OpenVINO's graphs.
#pragma once

#include <memory>
#include <openvino/op/op.hpp>

#include "backends/openvino/queries/sampled_projection.hpp"

namespace instseg::queries {

// Inputs: pixels [...][inputs] float32; positions of pixels, [batch][queries][heads][count] int32;
// weights, the same number, float32. Output: [batch * queries * heads][1][outputs]. evaluate throws
// ov::Exception for a position that is none.
class SampledProjectionOp : public ov::op::Op {
 public:
  OPENVINO_OP("SampledProjection", "instseg")

  SampledProjectionOp(const ov::OutputVector& inputs,
                      std::shared_ptr<const SampledProjection> projection);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor& visitor) override;
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

 private:
  std::shared_ptr<const SampledProjection> projection_;  // of all clones
};

// Inputs: embeddings [1][queries][channels], mask features [1][height][width][channels], float32.
// Outputs: the largest product of each row, [1][queries][height], and of each column,
// [1][queries][width].
class MaskExtentsOp : public ov::op::Op {
 public:
  OPENVINO_OP("MaskExtents", "instseg")

  MaskExtentsOp(const ov::Output<ov::Node>& embeddings, const ov::Output<ov::Node>& features,
                const winograd::Kernels& products, const Kernels& kernels);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor&) override { return true; }
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

 private:
  const winograd::Kernels& products_;
  const Kernels& kernels_;
};

}  // namespace instseg::queries
