#include "backends/openvino/winograd/chain.hpp"

#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/relu.hpp>
#include <openvino/op/sigmoid.hpp>
#include <utility>

namespace instseg::winograd {
namespace {

// One value for each output channel, added to `node`.
std::optional<std::vector<float>> bias_of(const ov::Node& add, const ov::Node& node,
                                          std::size_t outputs) {
  const std::size_t other = add.get_input_node_ptr(0) == &node ? 1 : 0;
  const ov::Shape along_channels{1, outputs, 1, 1};
  const ov::PartialShape& shape = add.get_input_partial_shape(other);
  return shape.is_static() && shape.to_shape() == along_channels
             ? constant_values(add.input_value(other))
             : std::nullopt;
}

// y * sigmoid(y): the product, where nothing else takes y or its sigmoid.
std::shared_ptr<ov::Node> find_silu(const ov::Node& node) {
  const auto targets = node.output(0).get_target_inputs();
  if (targets.size() != 2) {
    return nullptr;
  }
  for (const ov::Input<ov::Node>& target : targets) {
    const ov::Node& sigmoid = *target.get_node();
    if (!ov::is_type<ov::op::v0::Sigmoid>(&sigmoid)) {
      continue;
    }
    const std::shared_ptr<ov::Node> product = only_user(sigmoid);
    if (ov::is_type<ov::op::v1::Multiply>(product) &&
        (product->get_input_node_ptr(0) == &node || product->get_input_node_ptr(1) == &node)) {
      return product;
    }
  }
  return nullptr;
}

}  // namespace

std::optional<std::vector<float>> constant_values(const ov::Output<ov::Node>& value) {
  const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(value.get_node_shared_ptr());
  return constant == nullptr ? std::nullopt : std::optional(constant->cast_vector<float>());
}

std::shared_ptr<ov::Node> only_user(const ov::Node& node) {
  const auto targets = node.output(0).get_target_inputs();
  return targets.size() == 1 ? targets.begin()->get_node()->shared_from_this() : nullptr;
}

void follow_activation(Chain& chain) {
  if (const std::shared_ptr<ov::Node> user = only_user(*chain.last);
      ov::is_type<ov::op::v0::Relu>(user)) {
    chain.activation = Activation::relu;
    chain.last = user;
  } else if (const std::shared_ptr<ov::Node> silu = find_silu(*chain.last)) {
    chain.activation = Activation::silu;
    chain.last = silu;
  }
}

Chain follow(const std::shared_ptr<ov::Node>& convolution, std::size_t outputs) {
  Chain chain{convolution, {}};
  const std::shared_ptr<ov::Node> add = only_user(*convolution);
  if (ov::is_type<ov::op::v1::Add>(add)) {
    if (auto values = bias_of(*add, *convolution, outputs)) {
      chain.bias = *std::move(values);
      chain.last = add;
    }
  }
  follow_activation(chain);
  return chain;
}

}  // namespace instseg::winograd
