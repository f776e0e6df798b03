// What follows a convolution or a product in a graph, and can be done with its results before they
// are written.
#pragma once

#include <cstddef>
#include <memory>
#include <openvino/core/node.hpp>
#include <optional>
#include <vector>

#include "backends/openvino/winograd/kernels.hpp"

namespace instseg::winograd {

// None where the value is no constant.
std::optional<std::vector<float>> constant_values(const ov::Output<ov::Node>& value);

// The only operation that takes the value of `node`; null where there are more, or none.
std::shared_ptr<ov::Node> only_user(const ov::Node& node);

struct Chain {
  std::shared_ptr<ov::Node> last;
  std::vector<float> bias;
  Activation activation = Activation::none;
};

// Adds to the chain the ReLU or the SiLU behind it, where there is one.
void follow_activation(Chain& chain);

// The bias of `outputs` values along the second axis of four, and the activation.
Chain follow(const std::shared_ptr<ov::Node>& convolution, std::size_t outputs);

}  // namespace instseg::winograd
