#include "backends/openvino/split/group_norms.hpp"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/mvn.hpp>
#include <openvino/op/relu.hpp>
#include <openvino/op/reshape.hpp>
#include <openvino/op/util/shape_of_base.hpp>
#include <optional>
#include <vector>

#include "backends/openvino/split/group_norm.hpp"
#include "backends/openvino/winograd/chain.hpp"
#include "backends/openvino/winograd/channels_last.hpp"

namespace instseg::split {
namespace {

using Value = ov::Output<ov::Node>;

// An operation and the values that follow it: y = x * scale + offset along an axis.
struct Line {
  std::shared_ptr<ov::Node> last;
  std::vector<float> scale;
  std::vector<float> offset;
};

// The constant of a sum or product with `node`, of one value for each of `count`, with `behind`
// axes of length 1 behind it; none where it is something else.
std::optional<std::vector<float>> along(const ov::Node& pair, const ov::Node& node,
                                        std::size_t count, std::size_t behind) {
  const Value value = pair.input_value(pair.get_input_node_ptr(0) == &node ? 1 : 0);
  const ov::PartialShape& shape = value.get_partial_shape();
  if (shape.is_dynamic() || shape.size() <= behind || ov::shape_size(shape.to_shape()) != count ||
      shape.to_shape()[shape.size() - 1 - behind] != count) {
    return std::nullopt;
  }
  return winograd::constant_values(value);
}

Line follow_line(const std::shared_ptr<ov::Node>& node, std::size_t count, std::size_t behind) {
  Line line{node, std::vector<float>(count, 1.0F), std::vector<float>(count)};
  std::shared_ptr<ov::Node> user = winograd::only_user(*node);
  if (ov::is_type<ov::op::v1::Multiply>(user)) {
    if (const auto values = along(*user, *line.last, count, behind)) {
      line.scale = *values;
      line.last = user;
      user = winograd::only_user(*user);
    }
  }
  if (ov::is_type<ov::op::v1::Add>(user)) {
    if (const auto values = along(*user, *line.last, count, behind)) {
      line.offset = *values;
      line.last = user;
    }
  }
  return line;
}

// The image whose channels are reshaped to groups; none where it is another reshape.
std::optional<Value> grouped_image(const ov::Node& node) {
  const auto* const reshape = ov::as_type<const ov::op::v1::Reshape>(&node);
  const auto* const constant =
      reshape == nullptr ? nullptr
                         : ov::as_type<const ov::op::v0::Constant>(reshape->get_input_node_ptr(1));
  if (constant == nullptr) {
    return std::nullopt;
  }
  const Value image = reshape->input_value(0);
  const ov::PartialShape& shape = image.get_partial_shape();
  const auto sizes = constant->cast_vector<std::int64_t>();
  if (sizes.size() != 3 || sizes[2] != -1 || shape.rank() != 4 || shape[1].is_dynamic()) {
    return std::nullopt;
  }
  const bool same_batch = (sizes[0] == 0 && reshape->get_special_zero()) || shape[0] == sizes[0];
  const bool whole = sizes[1] > 0 && shape[1].get_length() % sizes[1] == 0;
  return same_batch && whole ? std::optional(image) : std::nullopt;
}

bool takes_back(const ov::Node* node, const Value& image) {
  if (!ov::is_type<ov::op::v1::Reshape>(node)) {
    return false;
  }
  const ov::Node* const sizes = node->get_input_node_ptr(1);
  const ov::PartialShape& shape = image.get_partial_shape();
  return (ov::is_type<ov::op::util::ShapeOfBase>(sizes) && sizes->input_value(0) == image) ||
         (shape.is_static() && node->get_output_partial_shape(0) == shape);
}

bool is_known(const ov::op::v6::MVN& normalised) {
  const auto* const axes =
      ov::as_type<const ov::op::v0::Constant>(normalised.get_input_node_ptr(1));
  return normalised.get_element_type() == ov::element::f32 && normalised.get_normalize_variance() &&
         normalised.get_eps_mode() == ov::op::MVNEpsMode::INSIDE_SQRT && axes != nullptr &&
         axes->cast_vector<std::int64_t>() == std::vector<std::int64_t>{2};
}

void replace(const std::shared_ptr<ov::op::v6::MVN>& normalised) {
  const std::optional<Value> image = grouped_image(*normalised->get_input_node_ptr(0));
  if (!image || !is_known(*normalised)) {
    return;
  }
  const auto groups =
      static_cast<std::size_t>(normalised->get_input_partial_shape(0)[1].get_length());
  const auto channels = static_cast<std::size_t>(image->get_partial_shape()[1].get_length());
  const Line of_groups = follow_line(normalised, groups, 1);
  const std::shared_ptr<ov::Node> back = winograd::only_user(*of_groups.last);
  if (!takes_back(back.get(), *image)) {
    return;
  }
  Line line = follow_line(back, channels, 2);
  for (std::size_t c = 0; c < channels; ++c) {
    const std::size_t group = c / (channels / groups);
    line.offset[c] += line.scale[c] * of_groups.offset[group];
    line.scale[c] *= of_groups.scale[group];
  }
  const std::shared_ptr<ov::Node> user = winograd::only_user(*line.last);
  const bool relu = ov::is_type<ov::op::v0::Relu>(user);
  const std::shared_ptr<ov::Node> last = relu ? user : line.last;
  const auto settings =
      std::make_shared<const ChannelsLastGroupNorm::Settings>(ChannelsLastGroupNorm::Settings{
          groups, normalised->get_eps(), line.scale, line.offset, relu});
  const std::shared_ptr<ov::Node> result = winograd::channels_first(
      std::make_shared<ChannelsLastGroupNorm>(winograd::channels_last(*image), settings));
  result->set_friendly_name(last->get_friendly_name());
  ov::replace_node(last, result);
}

}  // namespace

void use_channels_last_group_norms(const std::shared_ptr<ov::Model>& model) {
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    if (const auto normalised = ov::as_type_ptr<ov::op::v6::MVN>(node)) {
      replace(normalised);
    }
  }
}

}  // namespace instseg::split
