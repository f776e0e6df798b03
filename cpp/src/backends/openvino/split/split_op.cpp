#include "backends/openvino/split/split_op.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "backends/openvino/operation.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::split {
namespace {

using openvino_backend::reshape;
using winograd::OpenVinoThreads;

ov::Dimension positions(const ov::Dimension& size, std::int64_t border, std::int64_t kernel,
                        std::int64_t stride) {
  const auto count = [&](std::int64_t pixels) {
    return std::max<std::int64_t>(0, pixels + border - kernel + stride) / stride;
  };
  const std::int64_t most = size.get_max_length();
  return {count(size.get_min_length()), most < 0 ? -1 : count(most)};
}

}  // namespace

SplitConvolution::SplitConvolution(const ov::OutputVector& inputs,
                                   std::shared_ptr<const Convolution> convolution)
    : Op(inputs), convolution_(std::move(convolution)) {
  constructor_validate_and_infer_types();
}

void SplitConvolution::validate_and_infer_types() {
  const ov::PartialShape& input = get_input_partial_shape(0);
  NODE_VALIDATION_CHECK(this, input.rank().compatible(4), "expected four axes, found ", input);
  ov::PartialShape output = ov::PartialShape::dynamic(4);
  if (input.rank().is_static()) {
    NODE_VALIDATION_CHECK(this, input[3].compatible(convolution_->inputs()), "expected ",
                          convolution_->inputs(), " channels, found ", input);
    const Geometry& g = convolution_->geometry();
    output[0] = input[0];
    output[1] = positions(input[1], g.top + g.bottom, g.kernel_height, g.stride);
    output[2] = positions(input[2], g.left + g.right, g.kernel_width, g.stride);
  }
  output[3] = convolution_->outputs();
  if (get_input_size() > 1) {
    NODE_VALIDATION_CHECK(this, output.compatible(get_input_partial_shape(1)), "to ", output,
                          " it cannot add ", get_input_partial_shape(1));
  }
  set_output_type(0, ov::element::f32, output);
}

std::shared_ptr<ov::Node> SplitConvolution::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<SplitConvolution>(inputs, convolution_);
}

bool SplitConvolution::visit_attributes(ov::AttributeVisitor& visitor) {
  openvino_backend::visit_identity(visitor, "convolution", convolution_.get());
  return true;
}

bool SplitConvolution::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  const ov::Shape shape = inputs[0].get_shape();
  const ImageShape from{static_cast<std::int64_t>(shape[0]), static_cast<std::int32_t>(shape[1]),
                        static_cast<std::int32_t>(shape[2])};
  const ImageShape to = convolution_->output_shape(from);
  const ov::Shape expected{shape[0], static_cast<std::size_t>(std::max(to.height, 0)),
                           static_cast<std::size_t>(std::max(to.width, 0)),
                           static_cast<std::size_t>(convolution_->outputs())};
  const bool adds = inputs.size() > 1;
  OPENVINO_ASSERT(!adds || inputs[1].get_shape() == expected, get_friendly_name(),
                  ": what is added has the shape ", inputs[1].get_shape(),
                  ", but the convolution's result has ", expected);
  reshape(outputs[0], expected);
  if (ov::shape_size(expected) > 0) {
    convolution_->run(inputs[0].data<const float>(), adds ? inputs[1].data<const float>() : nullptr,
                      outputs[0].data<float>(), from, OpenVinoThreads());
  }
  return true;
}

SplitProduct::SplitProduct(const ov::Output<ov::Node>& input,
                           std::shared_ptr<const Convolution> convolution)
    : Op({input}), convolution_(std::move(convolution)) {
  constructor_validate_and_infer_types();
}

void SplitProduct::validate_and_infer_types() {
  ov::PartialShape shape = get_input_partial_shape(0);
  if (shape.rank().is_static()) {
    NODE_VALIDATION_CHECK(
        this, shape.size() > 0 && shape[shape.size() - 1].compatible(convolution_->inputs()),
        "expected rows of ", convolution_->inputs(), " values, found ", shape);
    shape[shape.size() - 1] = convolution_->outputs();
  }
  set_output_type(0, ov::element::f32, shape);
}

std::shared_ptr<ov::Node> SplitProduct::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<SplitProduct>(inputs.at(0), convolution_);
}

bool SplitProduct::visit_attributes(ov::AttributeVisitor& visitor) {
  openvino_backend::visit_identity(visitor, "convolution", convolution_.get());
  return true;
}

bool SplitProduct::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  ov::Shape shape = inputs[0].get_shape();
  const std::size_t rows = ov::shape_size(shape.begin(), shape.end() - 1);
  shape.back() = static_cast<std::size_t>(convolution_->outputs());
  reshape(outputs[0], shape);
  if (rows > 0) {
    // As an image of one row of pixels.
    convolution_->run(inputs[0].data<const float>(), nullptr, outputs[0].data<float>(),
                      {1, 1, static_cast<std::int32_t>(rows)}, OpenVinoThreads());
  }
  return true;
}

}  // namespace instseg::split
