#include "backends/openvino/queries/query_ops.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "backends/openvino/operation.hpp"
#include "backends/openvino/queries/mask_extents.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::queries {
namespace {

using openvino_backend::reshape;

std::int64_t length(std::size_t size) { return static_cast<std::int64_t>(size); }
std::int32_t size(std::size_t size) { return static_cast<std::int32_t>(size); }

}  // namespace

SampledProjectionOp::SampledProjectionOp(const ov::OutputVector& inputs,
                                         std::shared_ptr<const SampledProjection> projection)
    : Op(inputs), projection_(std::move(projection)) {
  constructor_validate_and_infer_types();
}

void SampledProjectionOp::validate_and_infer_types() {
  NODE_VALIDATION_CHECK(this,
                        get_input_element_type(0) == ov::element::f32 &&
                            get_input_element_type(1) == ov::element::i32 &&
                            get_input_element_type(2) == ov::element::f32,
                        "expected pixels and weights in f32 and positions in i32");
  const ov::PartialShape& pixels = get_input_partial_shape(0);
  const ov::PartialShape& positions = get_input_partial_shape(1);
  NODE_VALIDATION_CHECK(this,
                        pixels.rank().is_static() && pixels.size() > 0 &&
                            pixels[pixels.size() - 1].compatible(projection_->inputs()),
                        "expected pixels of ", projection_->inputs(), " channels, found ", pixels);
  NODE_VALIDATION_CHECK(this,
                        positions.rank().is_static() && positions.size() == 4 &&
                            positions[2].compatible(projection_->heads()),
                        "expected positions of ", projection_->heads(), " heads, found ",
                        positions);
  set_output_type(0, ov::element::f32,
                  {positions[0] * positions[1] * positions[2], 1, projection_->outputs()});
}

std::shared_ptr<ov::Node> SampledProjectionOp::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<SampledProjectionOp>(inputs, projection_);
}

bool SampledProjectionOp::visit_attributes(ov::AttributeVisitor& visitor) {
  openvino_backend::visit_identity(visitor, "projection", projection_.get());
  return true;
}

bool SampledProjectionOp::evaluate(ov::TensorVector& outputs,
                                   const ov::TensorVector& inputs) const {
  const ov::Shape shape = inputs[1].get_shape();
  const std::size_t heads = shape[0] * shape[1] * shape[2];
  reshape(outputs[0], {heads, 1, static_cast<std::size_t>(projection_->outputs())});
  const std::int64_t pixels = length(inputs[0].get_size()) / projection_->inputs();
  const auto* const positions = inputs[1].data<const std::int32_t>();
  OPENVINO_ASSERT(inputs[2].get_size() == inputs[1].get_size(), get_friendly_name(), ": ",
                  inputs[1].get_size(), " positions, but ", inputs[2].get_size(), " weights");
  const auto [least, most] = std::minmax_element(positions, positions + inputs[1].get_size());
  OPENVINO_ASSERT(inputs[1].get_size() == 0 || (*least >= 0 && *most < pixels), get_friendly_name(),
                  ": positions from ", *least, " to ", *most, ", but there are ", pixels,
                  " pixels");
  projection_->run({inputs[0].data<const float>(), positions, inputs[2].data<const float>(),
                    length(shape[0] * shape[1]), size(shape[3])},
                   outputs[0].data<float>(), winograd::OpenVinoThreads());
  return true;
}

MaskExtentsOp::MaskExtentsOp(const ov::Output<ov::Node>& embeddings,
                             const ov::Output<ov::Node>& features,
                             const winograd::Kernels& products, const Kernels& kernels)
    : Op({embeddings, features}), products_(products), kernels_(kernels) {
  constructor_validate_and_infer_types();
}

void MaskExtentsOp::validate_and_infer_types() {
  const ov::PartialShape& embeddings = get_input_partial_shape(0);
  const ov::PartialShape& features = get_input_partial_shape(1);
  NODE_VALIDATION_CHECK(
      this,
      embeddings.rank() == 3 && features.rank() == 4 && embeddings[0].compatible(1) &&
          features[0].compatible(1) && embeddings[2].compatible(features[3]),
      "expected embeddings and mask features of one image, found ", embeddings, " and ", features);
  set_output_type(0, ov::element::f32, {1, embeddings[1], features[1]});
  set_output_type(1, ov::element::f32, {1, embeddings[1], features[2]});
}

std::shared_ptr<ov::Node> MaskExtentsOp::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<MaskExtentsOp>(inputs.at(0), inputs.at(1), products_, kernels_);
}

bool MaskExtentsOp::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  const ov::Shape embeddings = inputs[0].get_shape();
  const ov::Shape features = inputs[1].get_shape();
  reshape(outputs[0], {1, embeddings[1], features[1]});
  reshape(outputs[1], {1, embeddings[1], features[2]});
  find_extents({inputs[1].data<const float>(), inputs[0].data<const float>(), size(features[1]),
                size(features[2]), size(features[3]), size(embeddings[1]), outputs[0].data<float>(),
                outputs[1].data<float>()},
               products_, kernels_, winograd::OpenVinoThreads());
  return true;
}

}  // namespace instseg::queries
