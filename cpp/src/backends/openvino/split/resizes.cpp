#include "backends/openvino/split/resizes.hpp"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/concat.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/convolution.hpp>
#include <openvino/op/interpolate.hpp>
#include <openvino/op/reshape.hpp>
#include <openvino/op/slice.hpp>
#include <openvino/op/squeeze.hpp>
#include <openvino/op/unsqueeze.hpp>
#include <openvino/op/util/shape_of_base.hpp>
#include <optional>
#include <vector>

#include "backends/openvino/split/channels_last_ops.hpp"
#include "backends/openvino/winograd/channels_last.hpp"

namespace instseg::split {
namespace {

using Value = ov::Output<ov::Node>;

// The one number in a constant.
std::optional<std::int64_t> number(const Value& value) {
  const auto* const constant = ov::as_type<const ov::op::v0::Constant>(value.get_node());
  return constant == nullptr || ov::shape_size(constant->get_shape()) != 1
             ? std::nullopt
             : std::optional(constant->cast_vector<std::int64_t>().front());
}

// Of the image whose sizes `first` to `end` the value is; none where it is something else.
std::optional<Value> sizes_of(Value value, std::int64_t first, std::int64_t end) {
  // One number of any shape.
  while (end == first + 1 && (ov::is_type<ov::op::v1::Reshape>(value.get_node()) ||
                              ov::is_type<ov::op::v0::Squeeze>(value.get_node()) ||
                              ov::is_type<ov::op::v0::Unsqueeze>(value.get_node()) ||
                              ov::is_type<ov::op::v0::Convert>(value.get_node()))) {
    value = value.get_node()->input_value(0);
  }
  const ov::Node& slice = *value.get_node();
  if (!ov::is_type<ov::op::v8::Slice>(&slice) || number(slice.input_value(1)) != first ||
      number(slice.input_value(2)) != end || number(slice.input_value(3)) != 1 ||
      (slice.get_input_size() > 4 && number(slice.input_value(4)) != 0) ||
      !ov::is_type<ov::op::util::ShapeOfBase>(slice.get_input_node_ptr(0))) {
    return std::nullopt;
  }
  return slice.get_input_node_ptr(0)->input_value(0);
}

bool keeps_size(const ov::op::v1::Convolution& convolution) {
  const ov::PartialShape& weights = convolution.get_input_partial_shape(1);
  const ov::Strides ones{1, 1};
  return weights.is_static() && weights.size() == 4 && weights[2] == 1 && weights[3] == 1 &&
         convolution.get_strides() == ones &&
         convolution.get_pads_begin() == ov::CoordinateDiff{0, 0} &&
         convolution.get_pads_end() == ov::CoordinateDiff{0, 0};
}

// A constant for each channel.
bool is_bias(const Value& value) {
  return ov::is_type<ov::op::v0::Constant>(value.get_node()) && value.get_shape().size() == 4 &&
         ov::shape_size(value.get_shape()) == value.get_shape()[1];
}

// An earlier image of the same size: before the convolution of one pixel that a pyramid begins
// with. So nothing but the sum in the pyramid takes what that convolution gives.
Value before_projection(const Value& image) {
  const ov::Node* node = image.get_node();
  if (ov::is_type<ov::op::v1::Add>(node) && is_bias(node->input_value(1))) {
    node = node->get_input_node_ptr(0);
  }
  const auto* const convolution = ov::as_type<const ov::op::v1::Convolution>(node);
  return convolution != nullptr && keeps_size(*convolution) ? convolution->input_value(0) : image;
}

// Whether the two sizes are those of the image's batch and channels: read from it, or known.
bool keeps_batch_and_channels(const Value& sizes, const Value& image) {
  const auto* const constant = ov::as_type<const ov::op::v0::Constant>(sizes.get_node());
  if (constant == nullptr) {
    return sizes_of(sizes, 0, 2) == image;
  }
  const ov::PartialShape& shape = image.get_partial_shape();
  const auto values = constant->cast_vector<std::int64_t>();
  return values.size() == 2 && shape[0] == values[0] && shape[1] == values[1];
}

bool takes_pixels_before(const ov::op::util::InterpolateBase& resize) {
  using Resize = ov::op::util::InterpolateBase;
  const Resize::InterpolateAttrs& attributes = resize.get_attrs();
  const auto none = [](const std::vector<std::size_t>& border) {
    return std::ranges::all_of(border, [](std::size_t size) { return size == 0; });
  };
  return attributes.mode == Resize::InterpolateMode::NEAREST &&
         attributes.nearest_mode == Resize::NearestMode::FLOOR &&
         attributes.coordinate_transformation_mode == Resize::CoordinateTransformMode::ASYMMETRIC &&
         attributes.shape_calculation_mode == Resize::ShapeCalcMode::SIZES &&
         none(attributes.pads_begin) && none(attributes.pads_end);
}

// What it is resized to the size of; none where that is not known, or is more than a size.
std::optional<Value> resized_like(const ov::op::v11::Interpolate& resize) {
  const ov::PartialShape& shape = resize.get_input_partial_shape(0);
  const auto* const sizes = ov::as_type<const ov::op::v0::Concat>(resize.get_input_node_ptr(1));
  if (resize.get_input_size() > 2 || shape.rank().is_dynamic() || shape.size() != 4 ||
      resize.get_element_type() != ov::element::f32 ||
      resize.get_output_partial_shape(0).is_static() || !takes_pixels_before(resize) ||
      sizes == nullptr || sizes->get_input_size() != 3 ||
      !keeps_batch_and_channels(sizes->input_value(0), resize.input_value(0))) {
    return std::nullopt;
  }
  const std::optional<Value> of_height = sizes_of(sizes->input_value(1), 2, 3);
  const std::optional<Value> of_width = sizes_of(sizes->input_value(2), 3, 4);
  const bool known = of_height && of_height == of_width;
  return known && of_height->get_partial_shape().rank() == 4 ? of_height : std::nullopt;
}

}  // namespace

void use_channels_last_resizes(const std::shared_ptr<ov::Model>& model) {
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    const auto resize = ov::as_type_ptr<ov::op::v11::Interpolate>(node);
    const std::optional<Value> like = resize == nullptr ? std::nullopt : resized_like(*resize);
    if (!like) {
      continue;
    }
    const std::shared_ptr<ov::Node> result = winograd::channels_first(
        std::make_shared<ChannelsLastResize>(winograd::channels_last(resize->input_value(0)),
                                             winograd::channels_last(before_projection(*like))));
    result->set_friendly_name(resize->get_friendly_name());
    ov::replace_node(resize, result);
  }
}

}  // namespace instseg::split
