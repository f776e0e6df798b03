#include "backends/openvino/split/open_sizes.hpp"

#include <algorithm>
#include <openvino/op/constant.hpp>
#include <openvino/op/convolution.hpp>
#include <openvino/op/group_conv.hpp>
#include <openvino/op/transpose.hpp>
#include <openvino/op/util/avg_pool_base.hpp>
#include <openvino/op/util/binary_elementwise_arithmetic.hpp>
#include <openvino/op/util/max_pool_base.hpp>
#include <openvino/op/util/unary_elementwise_arithmetic.hpp>
#include <utility>

#include "backends/openvino/split/channels_last_ops.hpp"

namespace instseg::split {
namespace {

constexpr int kUnknown = -1;

bool explicit_border(ov::op::PadType type) {
  return type == ov::op::PadType::EXPLICIT || type == ov::op::PadType::NOTSET;
}

bool is_image(const ov::Output<ov::Node>& value) {
  const ov::Rank rank = value.get_partial_shape().rank();
  return rank.is_static() && rank.get_length() == 4;
}

// A constant that leaves the size to what it is added to or multiplied by.
bool is_of_one_pixel(const ov::Output<ov::Node>& value) {
  if (!ov::is_type<ov::op::v0::Constant>(value.get_node())) {
    return false;
  }
  const ov::Shape& shape = value.get_shape();
  return ov::shape_size(shape) == 1 ||
         (shape.size() == 4 && shape[0] == 1 && shape[2] == 1 && shape[3] == 1) ||
         (shape.size() == 3 && shape[1] == 1 && shape[2] == 1);
}

// The resize whose result the node gives with its channels first; null where it gives another
// value.
const ChannelsLastResize* resized(const ov::Node& node) {
  return ov::is_type<ov::op::v1::Transpose>(&node)
             ? ov::as_type<const ChannelsLastResize>(node.get_input_node_ptr(0))
             : nullptr;
}

}  // namespace

OpenSizes::OpenSizes(const ov::NodeVector& operations) {
  for (const std::shared_ptr<ov::Node>& node : operations) {
    if (node->get_output_size() > 0 && is_image(node->output(0))) {
      known_.emplace(node.get(), follow(*node));
    }
  }
}

OpenSizes::Size OpenSizes::of(const ov::Output<ov::Node>& value) const {
  const auto found = known_.find(value.get_node());
  return found == known_.end() || value.get_index() > 0 ? kUnknown : found->second;
}

OpenSizes::Size OpenSizes::rounded(Size from, const Roundings& roundings) {
  constexpr Rounding kNone{1, 1};
  if (from == kUnknown || (roundings[0] == kNone && roundings[1] == kNone)) {
    return from;
  }
  const auto [place, is_new] = made_.try_emplace({from, roundings}, next_);
  next_ += is_new ? 1 : 0;
  return place->second;
}

OpenSizes::Size OpenSizes::follow_elementwise(const ov::Node& node) {
  const Size first = of(node.input_value(0));
  const Size second = of(node.input_value(1));
  if (is_of_one_pixel(node.input_value(1)) || first == second) {
    return first;
  }
  return is_of_one_pixel(node.input_value(0)) ? second : kUnknown;
}

OpenSizes::Size OpenSizes::follow(const ov::Node& node) {
  Size found = kUnknown;
  const auto convolved = [&](const auto& convolution, std::size_t first_axis) {
    const ov::PartialShape& weights = convolution.get_input_partial_shape(1);
    if (weights.is_dynamic() || weights.size() != first_axis + 2 ||
        !explicit_border(convolution.get_auto_pad())) {
      return kUnknown;
    }
    Roundings roundings{};
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const std::int64_t reach = (weights[first_axis + axis].get_length() - 1) *
                                 static_cast<std::int64_t>(convolution.get_dilations()[axis]);
      roundings[axis] = {
          reach + 1 - convolution.get_pads_begin()[axis] - convolution.get_pads_end()[axis],
          static_cast<std::int64_t>(convolution.get_strides()[axis])};
    }
    return rounded(of(node.input_value(0)), roundings);
  };
  const auto pooled = [&](const auto& pool) {
    if (!explicit_border(pool.get_auto_pad())) {
      return kUnknown;
    }
    Roundings roundings{};
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const auto stride = static_cast<std::int64_t>(pool.get_strides()[axis]);
      const auto border =
          static_cast<std::int64_t>(pool.get_pads_begin()[axis] + pool.get_pads_end()[axis]);
      const bool up = pool.get_rounding_type() != ov::op::RoundingType::FLOOR;
      if (up && border > 0) {
        return kUnknown;  // there a last window can be left out
      }
      roundings[axis] = {
          static_cast<std::int64_t>(pool.get_kernel()[axis]) - border - (up ? stride - 1 : 0),
          stride};
    }
    return rounded(of(node.input_value(0)), roundings);
  };
  if (const auto* const convolution = ov::as_type<const ov::op::v1::Convolution>(&node)) {
    found = convolved(*convolution, 2);
  } else if (const auto* const groups = ov::as_type<const ov::op::v1::GroupConvolution>(&node)) {
    found = convolved(*groups, 3);
  } else if (const auto* const largest = ov::as_type<const ov::op::util::MaxPoolBase>(&node)) {
    found = pooled(*largest);
  } else if (const auto* const mean = ov::as_type<const ov::op::util::AvgPoolBase>(&node)) {
    found = pooled(*mean);
  } else if (ov::is_type<ov::op::util::UnaryElementwiseArithmetic>(&node)) {
    found = of(node.input_value(0));
  } else if (ov::is_type<ov::op::util::BinaryElementwiseArithmetic>(&node)) {
    found = follow_elementwise(node);
  } else if (const ChannelsLastResize* const resize = resized(node)) {
    found = of(resize->get_input_node_ptr(1)->input_value(0));  // before it was transposed
  }
  return found == kUnknown ? next_++ : found;
}

bool OpenSizes::same_size(const ov::Output<ov::Node>& a, const ov::Output<ov::Node>& b) const {
  return of(a) != kUnknown && of(a) == of(b);
}

bool OpenSizes::same_shape(const ov::Output<ov::Node>& a, const ov::Output<ov::Node>& b) const {
  const ov::PartialShape& first = a.get_partial_shape();
  const ov::PartialShape& second = b.get_partial_shape();
  if (first.is_static() && second.is_static()) {
    return first == second;
  }
  return is_image(a) && is_image(b) && first[1].is_static() && first[1] == second[1] &&
         same_size(a, b);
}

}  // namespace instseg::split
