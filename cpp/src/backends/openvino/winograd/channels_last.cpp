#include "backends/openvino/winograd/channels_last.hpp"

#include <algorithm>
#include <iterator>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/concat.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/transpose.hpp>
#include <vector>

namespace instseg::winograd {
namespace {

const std::vector<std::int64_t> kToLast{0, 2, 3, 1};
const std::vector<std::int64_t> kToFirst{0, 3, 1, 2};

std::shared_ptr<ov::Node> transposed(const ov::Output<ov::Node>& value,
                                     const std::vector<std::int64_t>& order) {
  return std::make_shared<ov::op::v1::Transpose>(
      value, ov::op::v0::Constant::create(ov::element::i64, {order.size()}, order));
}

bool is_transposed(const ov::Node& node, const std::vector<std::int64_t>& order) {
  if (!ov::is_type<ov::op::v1::Transpose>(&node)) {
    return false;
  }
  const auto constant = ov::as_type<const ov::op::v0::Constant>(node.get_input_node_ptr(1));
  return constant != nullptr && constant->cast_vector<std::int64_t>() == order;
}

}  // namespace

bool is_channels_last(const ov::Node& node) { return is_transposed(node, kToLast); }

bool is_channels_first(const ov::Node& node) { return is_transposed(node, kToFirst); }

ov::Output<ov::Node> channels_last(const ov::Output<ov::Node>& value) {
  if (is_channels_first(*value.get_node())) {
    return value.get_node()->input_value(0);
  }
  // Once for all that need it.
  for (const ov::Input<ov::Node>& target : value.get_target_inputs()) {
    if (is_channels_last(*target.get_node())) {
      return target.get_node()->output(0);
    }
  }
  return transposed(value, kToLast);
}

std::shared_ptr<ov::Node> channels_first(const ov::Output<ov::Node>& value) {
  return transposed(value, kToFirst);
}

bool concatenate_channels_last(const std::shared_ptr<ov::Node>& node) {
  const auto concat = ov::as_type_ptr<ov::op::v0::Concat>(node);
  if (concat == nullptr || concat->get_output_partial_shape(0).rank() != 4 ||
      concat->get_axis() != 1) {
    return false;
  }
  const ov::OutputVector values = node->input_values();
  const auto transposed_ones = std::ranges::count_if(values, [](const ov::Output<ov::Node>& value) {
    return is_channels_first(*value.get_node());
  });
  if (2 * transposed_ones <= std::ssize(values)) {
    return false;
  }
  ov::OutputVector inputs;
  for (const ov::Output<ov::Node>& value : values) {
    inputs.push_back(channels_last(value));
  }
  const auto last = std::make_shared<ov::op::v0::Concat>(inputs, 3);
  const std::shared_ptr<ov::Node> result = channels_first(last);
  last->set_friendly_name(node->get_friendly_name() + "/channels_last");
  result->set_friendly_name(node->get_friendly_name());
  ov::replace_node(node, result);
  return true;
}

void keep_channels_last(const std::shared_ptr<ov::Node>& node) {
  if (node->get_output_size() == 1 && node->get_output_partial_shape(0).is_static()) {
    concatenate_channels_last(node);
  }
}

}  // namespace instseg::winograd
