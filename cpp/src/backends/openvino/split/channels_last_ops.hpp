// Operations on images as OpenVINO has them too, on [batch][height][width][channels] float32.
//
// OpenVINO's own could need a pass over the values before and one behind (carry.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvino/op/op.hpp>

namespace instseg::split {

// The largest of a window or the mean of it, of what lies inside the image.
class ChannelsLastPool : public ov::op::Op {
 public:
  OPENVINO_OP("ChannelsLastPool", "instseg")

  struct Axis {
    std::int64_t kernel;
    std::int64_t stride;
    std::int64_t before;  // the border; less than the kernel
    std::int64_t after;
  };
  struct Window {
    bool mean;
    bool partial;  // with a last window that the image ends in; then the stride is at most the
                   // kernel, and there is no border
    Axis rows;
    Axis columns;
  };

  ChannelsLastPool(const ov::Output<ov::Node>& input, const Window& window);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor& visitor) override;
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

 private:
  Window window_;
};

// The height and width of a second image, each pixel the nearest one of the input at or before its
// place (ONNX: asymmetric, floor). Nothing but the shape of the second input is used.
class ChannelsLastResize : public ov::op::Op {
 public:
  OPENVINO_OP("ChannelsLastResize", "instseg")

  ChannelsLastResize(const ov::Output<ov::Node>& input, const ov::Output<ov::Node>& like);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor&) override { return true; }
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;
};

// Each pixel becomes a block of pixels, of its values [row][column][channel] (ONNX: depth to space,
// with the blocks first).
class ChannelsLastBlocks : public ov::op::Op {
 public:
  OPENVINO_OP("ChannelsLastBlocks", "instseg")

  ChannelsLastBlocks(const ov::Output<ov::Node>& input, std::int64_t side);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor& visitor) override;
  bool has_evaluate() const override { return true; }
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;

 private:
  std::int64_t side_;
};

}  // namespace instseg::split
