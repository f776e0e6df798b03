// Group normalisation, on [batch][height][width][channels] float32.
#pragma once

#include <memory>
#include <openvino/op/op.hpp>
#include <vector>

namespace instseg::split {

// Groups of neighbouring channels, each with the mean 0 and the variance 1 in each image; then a
// factor and a summand for each channel, and a ReLU where it is wanted. The result does not depend
// on the number of threads.
class ChannelsLastGroupNorm : public ov::op::Op {
 public:
  OPENVINO_OP("ChannelsLastGroupNorm", "instseg")

  struct Settings {
    std::size_t groups;
    double epsilon;             // added to the variance
    std::vector<float> scale;   // of each channel
    std::vector<float> offset;  // the same
    bool relu;
  };

  ChannelsLastGroupNorm(const ov::Output<ov::Node>& input,
                        std::shared_ptr<const Settings> settings);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor& visitor) override;
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

 private:
  std::shared_ptr<const Settings> settings_;
};

}  // namespace instseg::split
