#include "backends/openvino/queries/use_queries.hpp"

#include <openvino/core/graph_util.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/convolution.hpp>
#include <openvino/op/gather.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/reduce_max.hpp>
#include <openvino/op/reshape.hpp>
#include <openvino/pass/constant_folding.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "backends/openvino/queries/query_ops.hpp"
#include "backends/openvino/winograd/chain.hpp"
#include "backends/openvino/winograd/channels_last.hpp"

namespace instseg::queries {
namespace {

using winograd::constant_values;
using winograd::only_user;
using Value = ov::Output<ov::Node>;

// What gives the value, where it is such an operation; null else.
template <class Operation>
std::shared_ptr<Operation> source(const Value& value) {
  return ov::as_type_ptr<Operation>(value.get_node_shared_ptr());
}

std::optional<ov::Shape> fixed_shape(const Value& value) {
  const ov::PartialShape& shape = value.get_partial_shape();
  return shape.is_static() ? std::optional(shape.to_shape()) : std::nullopt;
}

// The input of a binary operation whose other input is a constant, and this one; none where neither
// is, or both.
std::optional<std::pair<Value, Value>> value_and_constant(const ov::Node& node) {
  for (const std::size_t i : {0U, 1U}) {
    if (source<ov::op::v0::Constant>(node.input_value(i)) != nullptr &&
        source<ov::op::v0::Constant>(node.input_value(1 - i)) == nullptr) {
      return std::pair(node.input_value(1 - i), node.input_value(i));
    }
  }
  return std::nullopt;
}

// 0, 1, ... for each head, over [...][heads][count].
bool counts_heads(const Value& constant, std::size_t heads) {
  const std::optional<std::vector<float>> values = constant_values(constant);
  if (!values || constant.get_shape() != ov::Shape{heads, 1}) {
    return false;
  }
  for (std::size_t head = 0; head < heads; ++head) {
    if ((*values)[head] != static_cast<float>(head)) {
      return false;
    }
  }
  return true;
}

bool is_all(const Value& constant, std::size_t value) {
  const std::optional<std::vector<float>> values = constant_values(constant);
  return values && values->size() == 1 && values->front() == static_cast<float>(value);
}

// Of row numbers position * heads + head, [batch][queries][heads][count]: the positions.
std::optional<Value> positions_of(const Value& rows) {
  const auto flat = source<ov::op::v1::Reshape>(rows);
  const auto sum = flat ? source<ov::op::v1::Add>(flat->input_value(0)) : nullptr;
  const std::optional<ov::Shape> shape = sum ? fixed_shape(sum->output(0)) : std::nullopt;
  if (!shape || shape->size() != 4 || rows.get_element_type() != ov::element::i32) {
    return std::nullopt;
  }
  const std::size_t heads = (*shape)[2];
  const auto heads_added = value_and_constant(*sum);
  const auto product = heads_added ? source<ov::op::v1::Multiply>(heads_added->first) : nullptr;
  const auto factors = product ? value_and_constant(*product) : std::nullopt;
  return factors && counts_heads(heads_added->second, heads) && is_all(factors->second, heads) &&
                 fixed_shape(factors->first) == shape
             ? std::optional(factors->first)
             : std::nullopt;
}

// [inputs][outputs], with one bias for each output or none.
struct Projection {
  Value pixels;
  std::vector<float> weights;
  std::vector<float> bias;
  std::size_t inputs;
  std::size_t outputs;
};

std::optional<Projection> projection_of(const Value& value) {
  Value projected = value;
  std::vector<float> bias;
  if (const auto sum = source<ov::op::v1::Add>(value)) {
    const auto added = value_and_constant(*sum);
    // Along the outputs.
    if (!added || added->second.get_shape().empty() ||
        added->second.get_shape().back() != ov::shape_size(added->second.get_shape())) {
      return std::nullopt;
    }
    projected = added->first;
    bias = *constant_values(added->second);
  }
  const auto product = source<ov::op::v0::MatMul>(projected);
  if (product == nullptr || product->get_transpose_a() || product->get_transpose_b()) {
    return std::nullopt;
  }
  const std::optional<ov::Shape> shape = fixed_shape(value);
  const std::optional<ov::Shape> matrix = fixed_shape(product->input_value(1));
  std::optional<std::vector<float>> weights = constant_values(product->input_value(1));
  if (!shape || shape != fixed_shape(projected) || value.get_element_type() != ov::element::f32 ||
      !matrix || matrix->size() != 2 || !weights ||
      (!bias.empty() && bias.size() != (*matrix)[1])) {
    return std::nullopt;
  }
  return Projection{product->input_value(0), *std::move(weights), std::move(bias), (*matrix)[0],
                    (*matrix)[1]};
}

// product: [rows][1][count] weights with [rows][count][head's outputs] of gathered rows.
bool replace_sampling(const std::shared_ptr<ov::op::v0::MatMul>& product,
                      const winograd::Kernels& products, const Kernels& kernels) {
  const auto sampled = source<ov::op::v1::Reshape>(product->input_value(1));
  const auto gather = sampled ? source<ov::op::util::GatherBase>(sampled->input_value(0)) : nullptr;
  const std::optional<ov::Shape> shape = fixed_shape(product->output(0));
  if (gather == nullptr || !shape || shape->size() != 3 || (*shape)[1] != 1 ||
      product->get_transpose_a() || product->get_transpose_b() || gather->get_axis() != 0 ||
      only_user(*gather) != sampled || only_user(*sampled) != product) {
    return false;
  }
  const auto rows = source<ov::op::v1::Reshape>(gather->input_value(0));
  const std::optional<Projection> projection =
      rows ? projection_of(rows->input_value(0)) : std::nullopt;
  const std::optional<Value> positions = positions_of(gather->input_value(1));
  if (!projection || !positions) {
    return false;
  }
  const ov::Shape samples = positions->get_shape();
  const std::size_t heads = samples[2];
  const std::size_t outputs = (*shape)[2];
  const ov::Shape weights{samples[0] * samples[1] * heads, 1, samples[3]};
  // A row is a head of a pixel, and what is gathered are those of a head of a query.
  if (fixed_shape(rows->output(0)) !=
          ov::Shape{ov::shape_size(rows->get_input_shape(0)) / outputs, outputs} ||
      projection->outputs != heads * outputs || fixed_shape(product->input_value(0)) != weights ||
      projection->inputs % SampledProjection::kInputMultiple != 0 ||
      outputs % SampledProjection::kHeadMultiple != 0) {
    return false;
  }
  const auto op = std::make_shared<SampledProjectionOp>(
      ov::OutputVector{projection->pixels, *positions, product->input_value(0)},
      std::make_shared<const SampledProjection>(
          products, kernels, projection->weights, static_cast<std::int64_t>(projection->inputs),
          static_cast<std::int64_t>(heads), projection->bias));
  op->set_friendly_name(product->get_friendly_name());
  ov::replace_node(product, op);
  return true;
}

// The largest value along an axis, which is left out: that axis of four; none where it is another
// operation.
std::optional<std::int64_t> reduced_axis(const ov::Node& node) {
  const auto* const reduction = ov::as_type<const ov::op::v1::ReduceMax>(&node);
  if (reduction == nullptr || reduction->get_keep_dims() || !reduction->reduction_axes_constant()) {
    return std::nullopt;
  }
  const ov::AxisSet axes = reduction->get_reduction_axes();
  return axes.size() == 1 ? std::optional(static_cast<std::int64_t>(*axes.begin())) : std::nullopt;
}

// What the masks are made of: the products of embeddings [1][queries][channels] with features
// [1][channels][height][width], and what is added to those of each query, [1][queries][1]; null:
// nothing.
struct MaskFactors {
  Value embeddings;
  Value features;
  std::shared_ptr<ov::Node> added;
};

// Mask features are mostly a convolution W x + b of one pixel, of fewer channels. As
//   e (W x + b) = (e W) x + e b
// the embeddings are multiplied by W instead of the pixels.
MaskFactors with_fewer_channels(const MaskFactors& masks) {
  std::optional<std::vector<float>> bias;
  Value convolved = masks.features;
  if (const auto sum = source<ov::op::v1::Add>(convolved)) {
    const auto added = value_and_constant(*sum);
    const ov::Shape along_channels{1, masks.features.get_shape()[1], 1, 1};
    if (!added || added->second.get_shape() != along_channels) {
      return masks;
    }
    convolved = added->first;
    bias = constant_values(added->second);
  }
  const auto convolution = source<ov::op::v1::Convolution>(convolved);
  if (convolution == nullptr) {
    return masks;
  }
  const std::optional<std::vector<float>> weights = constant_values(convolution->input_value(1));
  const ov::CoordinateDiff none{0, 0};
  const std::optional<ov::Shape> input = fixed_shape(convolution->input_value(0));
  const ov::Shape features = masks.features.get_shape();
  if (!weights || !input || weights->size() != features[1] * (*input)[1] ||
      (*input)[1] >= features[1] || (*input)[2] != features[2] || (*input)[3] != features[3] ||
      convolution->get_pads_begin() != none || convolution->get_pads_end() != none) {
    return masks;
  }
  const auto times = [&](const ov::Shape& shape, const std::vector<float>& values) {
    return std::make_shared<ov::op::v0::MatMul>(
        masks.embeddings, ov::op::v0::Constant::create(ov::element::f32, shape, values));
  };
  return {times({features[1], (*input)[1]}, *weights), convolution->input_value(0),
          bias ? times({features[1], 1}, *bias) : nullptr};
}

// product: [1][queries][channels] with [1][channels][height * width].
std::optional<MaskFactors> mask_factors(const ov::op::v0::MatMul& product) {
  const auto flat = source<ov::op::v1::Reshape>(product.input_value(1));
  const std::optional<ov::Shape> features = flat ? fixed_shape(flat->input_value(0)) : std::nullopt;
  const std::optional<ov::Shape> embeddings = fixed_shape(product.input_value(0));
  if (!features || features->size() != 4 || !embeddings || embeddings->size() != 3 ||
      product.get_element_type() != ov::element::f32 || product.get_transpose_a() ||
      product.get_transpose_b()) {
    return std::nullopt;
  }
  const ov::Shape& f = *features;
  if (f[0] != 1 || (*embeddings)[0] != 1 || (*embeddings)[2] != f[1] ||
      fixed_shape(flat->output(0)) != ov::Shape{1, f[1], f[2] * f[3]}) {
    return std::nullopt;
  }
  return MaskFactors{product.input_value(0), flat->input_value(0), nullptr};
}

bool replace_masks(const std::shared_ptr<ov::op::v0::MatMul>& product,
                   const winograd::Kernels& products, const Kernels& kernels) {
  const auto masks = ov::as_type_ptr<ov::op::v1::Reshape>(only_user(*product));
  const std::optional<MaskFactors> factors = mask_factors(*product);
  if (masks == nullptr || !factors) {
    return false;
  }
  const ov::Shape features = factors->features.get_shape();
  const std::size_t queries = factors->embeddings.get_shape()[1];
  if (fixed_shape(masks->output(0)) != ov::Shape{1, queries, features[2], features[3]}) {
    return false;
  }
  const auto takers = masks->output(0).get_target_inputs();
  for (const ov::Input<ov::Node>& taker : takers) {
    const std::optional<std::int64_t> axis = reduced_axis(*taker.get_node());
    if (axis != 2 && axis != 3) {
      return false;
    }
  }
  const MaskFactors fewest = with_fewer_channels(*factors);
  const auto op = std::make_shared<MaskExtentsOp>(
      fewest.embeddings, winograd::channels_last(fewest.features), products, kernels);
  op->set_friendly_name(product->get_friendly_name());
  for (const ov::Input<ov::Node>& taker : takers) {
    const bool of_row = reduced_axis(*taker.get_node()) == 3;
    Value extent = op->output(of_row ? 0 : 1);
    if (fewest.added != nullptr) {
      extent = std::make_shared<ov::op::v1::Add>(extent, fewest.added);
    }
    taker.get_node()->output(0).replace(extent);
  }
  return true;
}

}  // namespace

int use_queries(const std::shared_ptr<ov::Model>& model, const winograd::Kernels& products) {
  const Kernels* const kernels = find_kernels(products);
  if (kernels == nullptr) {
    return 0;
  }
  // Shapes are computed by operations until they are folded.
  ov::pass::ConstantFolding().run_on_model(model);
  int replaced = 0;
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    if (const auto product = ov::as_type_ptr<ov::op::v0::MatMul>(node)) {
      replaced += replace_sampling(product, products, *kernels) ||
                          replace_masks(product, products, *kernels)
                      ? 1
                      : 0;
    }
  }
  return replaced;
}

}  // namespace instseg::queries
