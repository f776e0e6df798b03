#include "backends/openvino/winograd/winograd_op.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <openvino/core/parallel.hpp>
#include <utility>

#include "backends/openvino/operation.hpp"

namespace instseg::winograd {

int OpenVinoThreads::threads() const { return parallel_get_max_threads(); }

void OpenVinoThreads::run(int count, const std::function<void(int)>& body) const {
  std::atomic<int> next{0};
  ov::parallel_nt(std::min(threads(), count), [&](int, int) {
    for (int i = next++; i < count; i = next++) {
      body(i);
    }
  });
}

WinogradConvolution::WinogradConvolution(const ov::Output<ov::Node>& input,
                                         std::shared_ptr<const Convolution> convolution,
                                         Layouts layouts)
    : Op({input}), convolution_(std::move(convolution)), layouts_(layouts) {
  constructor_validate_and_infer_types();
}

void WinogradConvolution::set_layouts(const Layouts& layouts) {
  layouts_ = layouts;
  constructor_validate_and_infer_types();
}

void WinogradConvolution::validate_and_infer_types() {
  const ov::PartialShape& input = get_input_partial_shape(0);
  NODE_VALIDATION_CHECK(this, input.rank().compatible(4), "expected four axes, found ", input);
  ov::PartialShape output = ov::PartialShape::dynamic(4);
  if (input.rank().is_static()) {
    const int from = layouts_.input_channels_last ? 1 : 2;
    const int to = layouts_.output_channels_last ? 1 : 2;
    output[0] = input[0];
    output[to] = input[from];
    output[to + 1] = input[from + 1];
  }
  output[layouts_.output_channels_last ? 3 : 1] = convolution_->outputs();
  set_output_type(0, ov::element::f32, output);
}

std::shared_ptr<ov::Node> WinogradConvolution::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<WinogradConvolution>(inputs.at(0), convolution_, layouts_);
}

bool WinogradConvolution::visit_attributes(ov::AttributeVisitor& visitor) {
  openvino_backend::visit_identity(visitor, "convolution", convolution_.get());
  visitor.on_attribute("input_channels_last", layouts_.input_channels_last);
  visitor.on_attribute("output_channels_last", layouts_.output_channels_last);
  return true;
}

bool WinogradConvolution::evaluate(ov::TensorVector& outputs,
                                   const ov::TensorVector& inputs) const {
  const ov::Shape shape = inputs[0].get_shape();
  const std::size_t rows = layouts_.input_channels_last ? 1 : 2;
  const ImageShape images{static_cast<std::int64_t>(shape[0]),
                          static_cast<std::int32_t>(shape[rows]),
                          static_cast<std::int32_t>(shape[rows + 1])};
  const auto channels = static_cast<std::size_t>(convolution_->outputs());
  const ov::Shape expected = layouts_.output_channels_last
                                 ? ov::Shape{shape[0], shape[rows], shape[rows + 1], channels}
                                 : ov::Shape{shape[0], channels, shape[rows], shape[rows + 1]};
  openvino_backend::reshape(outputs[0], expected);
  if (ov::shape_size(expected) == 0) {
    return true;
  }
  convolution_->run(inputs[0].data<const float>(), layouts_.input_channels_last,
                    outputs[0].data<float>(), layouts_.output_channels_last, images,
                    OpenVinoThreads());
  return true;
}

}  // namespace instseg::winograd
