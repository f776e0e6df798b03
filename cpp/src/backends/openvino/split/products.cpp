#include "backends/openvino/split/products.hpp"

#include <openvino/core/graph_util.hpp>
#include <openvino/op/add.hpp>
#include <openvino/pass/constant_folding.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "backends/openvino/split/split_op.hpp"
#include "backends/openvino/winograd/chain.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::split {
namespace {

// With fewer, splitting the values takes longer than the multiplications that it saves.
constexpr std::size_t kLeastInputs = 32;

// Of a result, where its size is known: smaller ones gain nothing.
constexpr std::size_t kLargeResult = 200'000;

// [outputs][inputs], whatever the order of the axes in the graph.
std::vector<float> rows_of_outputs(std::vector<float> values, std::size_t outputs,
                                   std::size_t inputs, bool transposed) {
  if (transposed) {
    return values;
  }
  std::vector<float> rows(values.size());
  for (std::size_t i = 0; i < inputs; ++i) {
    for (std::size_t o = 0; o < outputs; ++o) {
      rows[o * inputs + i] = values[i * outputs + o];
    }
  }
  return rows;
}

// One value for each output, added to `product`.
std::optional<std::vector<float>> bias_of(const ov::Node& add, const ov::Node& product,
                                          std::size_t outputs) {
  const ov::Output<ov::Node> value = add.input_value(add.get_input_node_ptr(0) == &product ? 1 : 0);
  const ov::PartialShape& shape = value.get_partial_shape();
  const bool along_outputs = shape.is_static() && shape.size() > 0 &&
                             ov::shape_size(shape.to_shape()) == outputs &&
                             shape.to_shape().back() == outputs &&
                             shape.size() <= product.get_output_partial_shape(0).size();
  return along_outputs ? winograd::constant_values(value) : std::nullopt;
}

winograd::Chain follow(const std::shared_ptr<ov::Node>& product, std::size_t outputs) {
  winograd::Chain chain{product, {}};
  const std::shared_ptr<ov::Node> add = winograd::only_user(*product);
  if (ov::is_type<ov::op::v1::Add>(add)) {
    if (auto values = bias_of(*add, *product, outputs)) {
      chain.bias = *std::move(values);
      chain.last = add;
    }
  }
  winograd::follow_activation(chain);
  return chain;
}

}  // namespace

bool replace_product(const std::shared_ptr<ov::op::v0::MatMul>& product, const Kernels& kernels) {
  const ov::PartialShape& input = product->get_input_partial_shape(0);
  const ov::PartialShape& matrix = product->get_input_partial_shape(1);
  if (product->get_element_type() != ov::element::f32 || product->get_transpose_a() ||
      input.rank().is_dynamic() || input.size() < 2 || matrix.is_dynamic() || matrix.size() != 2) {
    return false;
  }
  const bool transposed = product->get_transpose_b();
  const ov::Shape shape = matrix.to_shape();
  const std::size_t inputs = shape[transposed ? 1 : 0];
  const std::size_t outputs = shape[transposed ? 0 : 1];
  if (inputs < kLeastInputs || outputs % Convolution::kOutputMultiple != 0) {
    return false;
  }
  std::optional<std::vector<float>> values = winograd::constant_values(product->input_value(1));
  if (!values) {
    return false;
  }
  const winograd::Chain chain = follow(product, outputs);
  const std::vector<float> weights =
      rows_of_outputs(*std::move(values), outputs, inputs, transposed);
  const auto op = std::make_shared<SplitProduct>(
      product->input_value(0),
      std::make_shared<const Convolution>(kernels, weights, static_cast<std::int64_t>(outputs),
                                          static_cast<std::int64_t>(inputs), Geometry{}, chain.bias,
                                          chain.activation, winograd::OpenVinoThreads()));
  op->set_friendly_name(chain.last->get_friendly_name());
  ov::replace_node(chain.last, op);
  return true;
}

int replace_large_products(const std::shared_ptr<ov::Model>& model, const Kernels& kernels) {
  ov::pass::ConstantFolding().run_on_model(model);
  int replaced = 0;
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    const auto product = ov::as_type_ptr<ov::op::v0::MatMul>(node);
    if (product != nullptr && product->get_output_partial_shape(0).is_static() &&
        ov::shape_size(product->get_output_shape(0)) >= kLargeResult) {
      replaced += replace_product(product, kernels) ? 1 : 0;
    }
  }
  return replaced;
}

}  // namespace instseg::split
