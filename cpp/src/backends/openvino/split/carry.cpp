#include "backends/openvino/split/carry.hpp"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/max_pool.hpp>
#include <openvino/op/reduce_mean.hpp>
#include <openvino/op/util/avg_pool_base.hpp>
#include <openvino/op/util/binary_elementwise_arithmetic.hpp>
#include <openvino/op/util/max_pool_base.hpp>
#include <openvino/op/util/unary_elementwise_arithmetic.hpp>
#include <optional>
#include <vector>

#include "backends/openvino/split/channels_last_ops.hpp"
#include "backends/openvino/winograd/channels_last.hpp"

namespace instseg::split {
namespace {

using Value = ov::Output<ov::Node>;
using winograd::channels_first;
using winograd::channels_last;

bool comes_from_last(const Value& value) { return winograd::is_channels_first(*value.get_node()); }

void replace(const std::shared_ptr<ov::Node>& node, const std::shared_ptr<ov::Node>& last) {
  const std::shared_ptr<ov::Node> result = channels_first(last);
  last->set_friendly_name(node->get_friendly_name() + "/channels_last");
  result->set_friendly_name(node->get_friendly_name());
  node->output(0).replace(result->output(0));
}

// One number for each channel, or for all, to be broadcast over images; null where it is not that.
std::shared_ptr<ov::Node> constant_channels_last(const Value& value) {
  const auto* const constant = ov::as_type<const ov::op::v0::Constant>(value.get_node());
  if (constant == nullptr || constant->get_shape().size() > 4) {
    return nullptr;
  }
  ov::Shape shape = constant->get_shape();
  shape.insert(shape.begin(), 4 - shape.size(), 1);
  if (shape[0] != 1 || shape[2] != 1 || shape[3] != 1) {
    return nullptr;
  }
  return std::make_shared<ov::op::v0::Constant>(*constant, ov::Shape{1, 1, 1, shape[1]});
}

void carry_through_pair(const std::shared_ptr<ov::op::util::BinaryElementwiseArithmetic>& node) {
  const ov::OutputVector values = node->input_values();
  if (std::ranges::none_of(values, comes_from_last) ||
      node->get_autob().m_type != ov::op::AutoBroadcastType::NUMPY) {
    return;
  }
  ov::OutputVector inputs;
  for (const Value& value : values) {
    if (const std::shared_ptr<ov::Node> constant = constant_channels_last(value)) {
      inputs.push_back(constant);
    } else if (value.get_partial_shape().rank() == 4) {
      inputs.push_back(channels_last(value));
    } else {
      return;
    }
  }
  replace(node, node->clone_with_new_inputs(inputs));
}

// The border that the attributes describe; none where it depends on the image.
template <typename Pool>
std::optional<ChannelsLastPool::Window> window_of(const Pool& pool) {
  const ov::op::PadType type = pool.get_auto_pad();
  const bool none = type == ov::op::PadType::VALID;
  if (!none && type != ov::op::PadType::EXPLICIT && type != ov::op::PadType::NOTSET) {
    return std::nullopt;
  }
  const auto axis = [&](std::size_t i) {
    const auto size = [](std::size_t value) { return static_cast<std::int64_t>(value); };
    return ChannelsLastPool::Axis{size(pool.get_kernel()[i]), size(pool.get_strides()[i]),
                                  none ? 0 : size(pool.get_pads_begin()[i]),
                                  none ? 0 : size(pool.get_pads_end()[i])};
  };
  return ChannelsLastPool::Window{false, pool.get_rounding_type() != ov::op::RoundingType::FLOOR,
                                  axis(0), axis(1)};
}

// Those that ChannelsLastPool has; of the others there is more than one idea of their borders.
bool is_known(const ChannelsLastPool::Window& window) {
  const auto known = [&](const ChannelsLastPool::Axis& axis) {
    return axis.before < axis.kernel && axis.after < axis.kernel &&
           (!window.partial || (axis.before == 0 && axis.after == 0 && axis.kernel >= axis.stride));
  };
  return known(window.rows) && known(window.columns);
}

std::optional<ChannelsLastPool::Window> largest_of(const ov::Node& node) {
  const auto* const pool = ov::as_type<const ov::op::util::MaxPoolBase>(&node);
  // Nobody asks where the largest was.
  if (pool == nullptr ||
      (node.get_output_size() > 1 && !node.output(1).get_target_inputs().empty())) {
    return std::nullopt;
  }
  const auto apart = [](const auto* dilated) {
    return dilated != nullptr && dilated->get_dilations() != ov::Strides{1, 1};
  };
  if (apart(ov::as_type<const ov::op::v8::MaxPool>(&node)) ||
      apart(ov::as_type<const ov::op::v14::MaxPool>(&node))) {
    return std::nullopt;
  }
  return window_of(*pool);
}

std::optional<ChannelsLastPool::Window> mean_of(const ov::Node& node) {
  const auto* const pool = ov::as_type<const ov::op::util::AvgPoolBase>(&node);
  std::optional<ChannelsLastPool::Window> window =
      pool == nullptr ? std::nullopt : window_of(*pool);
  if (!window) {
    return std::nullopt;
  }
  window->mean = true;
  const auto inside = [](const ChannelsLastPool::Axis& axis) {
    return axis.before == 0 && axis.after == 0;
  };
  const bool always_inside = inside(window->rows) && inside(window->columns) && !window->partial;
  return pool->get_exclude_pad() || always_inside ? window : std::nullopt;
}

// The mean of each channel of an image.
void carry_through_mean(const std::shared_ptr<ov::op::v1::ReduceMean>& node) {
  const ov::AxisSet pixels{2, 3};
  if (node->get_keep_dims() && node->reduction_axes_constant() &&
      node->get_reduction_axes() == pixels) {
    const auto axes = ov::op::v0::Constant::create(ov::element::i64, {2}, {1, 2});
    replace(node, node->clone_with_new_inputs({channels_last(node->input_value(0)), axes}));
  }
}

}  // namespace

void carry_channels_last(const std::shared_ptr<ov::Node>& node) {
  if (node->get_output_size() == 0 || node->get_output_partial_shape(0).rank() != 4 ||
      node->get_output_element_type(0) != ov::element::f32) {
    return;
  }
  if (const auto pair = ov::as_type_ptr<ov::op::util::BinaryElementwiseArithmetic>(node)) {
    carry_through_pair(pair);
    return;
  }
  if (winograd::concatenate_channels_last(node) || node->get_input_size() == 0 ||
      !comes_from_last(node->input_value(0))) {
    return;
  }
  if (ov::is_type<ov::op::util::UnaryElementwiseArithmetic>(node)) {
    replace(node, node->clone_with_new_inputs({channels_last(node->input_value(0))}));
  } else if (const auto mean = ov::as_type_ptr<ov::op::v1::ReduceMean>(node)) {
    carry_through_mean(mean);
  } else {
    std::optional<ChannelsLastPool::Window> window = largest_of(*node);
    window = window ? window : mean_of(*node);
    if (window && is_known(*window)) {
      replace(node,
              std::make_shared<ChannelsLastPool>(channels_last(node->input_value(0)), *window));
    }
  }
}

}  // namespace instseg::split
