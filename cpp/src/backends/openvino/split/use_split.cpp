#include "backends/openvino/split/use_split.hpp"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/convolution.hpp>
#include <openvino/op/group_conv.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/slice.hpp>
#include <openvino/pass/constant_folding.hpp>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "backends/openvino/split/carry.hpp"
#include "backends/openvino/split/group_norms.hpp"
#include "backends/openvino/split/open_sizes.hpp"
#include "backends/openvino/split/planes.hpp"
#include "backends/openvino/split/products.hpp"
#include "backends/openvino/split/resizes.hpp"
#include "backends/openvino/split/split_op.hpp"
#include "backends/openvino/split/transposed.hpp"
#include "backends/openvino/winograd/chain.hpp"
#include "backends/openvino/winograd/channels_last.hpp"
#include "backends/openvino/winograd/use_winograd.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::split {
namespace {

using winograd::Chain;

bool is_open(const ov::Node& node) {
  return node.get_output_size() > 0 && node.get_output_partial_shape(0).is_dynamic();
}

std::size_t outputs_of(const ov::op::v1::Convolution& convolution) {
  return convolution.get_input_shape(1)[0];
}

bool has_whole_vectors(const ov::op::v1::Convolution& convolution) {
  return outputs_of(convolution) % Convolution::kOutputMultiple == 0;
}

bool fits(const ov::op::v1::Convolution& convolution) {
  const ov::PartialShape& weights = convolution.get_input_partial_shape(1);
  if (convolution.get_element_type() != ov::element::f32 || weights.is_dynamic() ||
      weights.size() != 4) {
    return false;
  }
  const ov::op::PadType type = convolution.get_auto_pad();
  const bool by_size = type == ov::op::PadType::SAME_LOWER || type == ov::op::PadType::SAME_UPPER;
  const ov::Strides& strides = convolution.get_strides();
  const auto is_border = [](std::ptrdiff_t pixels) { return pixels >= 0; };
  return convolution.get_dilations() == ov::Strides{1, 1} && strides[0] == strides[1] &&
         (!by_size || convolution.get_input_partial_shape(0).is_static()) &&
         std::ranges::all_of(convolution.get_pads_begin(), is_border) &&
         std::ranges::all_of(convolution.get_pads_end(), is_border) &&
         // Others get outputs of zeros, which are cut off again. That is a pass over few channels.
         // Where sizes are open, OpenVINO's own would need one over all the inputs.
         (has_whole_vectors(convolution) || is_open(convolution));
}

Geometry geometry_of(const ov::op::v1::Convolution& convolution) {
  const ov::Shape& weights = convolution.get_input_shape(1);
  const auto size = [](auto value) { return static_cast<std::int32_t>(value); };
  return {size(weights[2]),
          size(weights[3]),
          size(convolution.get_strides()[0]),
          size(convolution.get_pads_begin()[0]),
          size(convolution.get_pads_begin()[1]),
          size(convolution.get_pads_end()[0]),
          size(convolution.get_pads_end()[1])};
}

std::shared_ptr<ov::Node> first_channels(const std::shared_ptr<ov::Node>& last, std::size_t count) {
  const auto constant = [](std::size_t value) {
    return ov::op::v0::Constant::create(ov::element::i64, {1}, {value});
  };
  return std::make_shared<ov::op::v8::Slice>(last, constant(0), constant(count), constant(1),
                                             constant(3));
}

void replace_chain(const ov::op::v1::Convolution& convolution, const Chain& chain,
                   const ov::OutputVector& inputs, const Kernels& kernels) {
  const std::size_t outputs = outputs_of(convolution);
  constexpr std::size_t kMultiple = Convolution::kOutputMultiple;
  const std::size_t whole = (outputs + kMultiple - 1) / kMultiple * kMultiple;
  std::vector<float> weights = *winograd::constant_values(convolution.input_value(1));
  std::vector<float> bias = chain.bias;
  weights.resize(weights.size() / outputs * whole);
  bias.resize(bias.empty() ? 0 : whole);
  ov::OutputVector last;
  std::ranges::transform(inputs, std::back_inserter(last), winograd::channels_last);
  std::shared_ptr<ov::Node> op = std::make_shared<SplitConvolution>(
      last, std::make_shared<const Convolution>(
                kernels, weights, static_cast<std::int64_t>(whole),
                static_cast<std::int64_t>(convolution.get_input_shape(1)[1]),
                geometry_of(convolution), bias, chain.activation, winograd::OpenVinoThreads()));
  op->set_friendly_name(convolution.get_friendly_name());
  op = whole == outputs ? op : first_channels(op, outputs);
  const std::shared_ptr<ov::Node> result = winograd::channels_first(op);
  result->set_friendly_name(chain.last->get_friendly_name());
  ov::replace_node(chain.last, result);
}

// The change of one graph.
class Change {
 public:
  Change(ov::NodeVector operations, const winograd::Kernels& winograd_kernels,
         const Kernels& kernels)
      : operations_(std::move(operations)), winograd_kernels_(winograd_kernels), kernels_(kernels) {
    const OpenSizes sizes(operations_);
    for (const std::shared_ptr<ov::Node>& node : operations_) {
      if (ov::is_type<ov::op::v1::Add>(node) &&
          sizes.same_shape(node->input_value(0), node->input_value(1))) {
        sums_.insert(node.get());
      }
    }
  }

  int run() {
    // In the order of computation: an operation finds what comes before it replaced already.
    for (const std::shared_ptr<ov::Node>& node : operations_) {
      visit(node);
    }
    return replaced_;
  }

 private:
  // A convolution, with its bias, that is computed with the sum that it goes into.
  struct Waiting {
    std::shared_ptr<ov::op::v1::Convolution> convolution;
    Chain chain;
  };

  void visit(const std::shared_ptr<ov::Node>& node) {
    if (const auto convolution = ov::as_type_ptr<ov::op::v1::Convolution>(node)) {
      visit_convolution(convolution);
    } else if (const auto product = ov::as_type_ptr<ov::op::v0::MatMul>(node)) {
      replaced_ += replace_product(product, kernels_) ? 1 : 0;
    } else if (const auto transposed = ov::as_type_ptr<ov::op::v1::ConvolutionBackpropData>(node)) {
      replaced_ += replace_transposed(transposed, kernels_) ? 1 : 0;
    } else if (const auto found = waiting_.find(node.get()); found != waiting_.end()) {
      replace_sum(node, found->second);
    } else if (winograd::is_channels_last(*node) &&
               winograd::is_channels_first(*node->get_input_node_ptr(0))) {
      // Put there before what gives the value was replaced.
      node->output(0).replace(winograd::channels_last(node->input_value(0)));
    } else {
      carry_channels_last(node);
    }
  }

  void visit_convolution(const std::shared_ptr<ov::op::v1::Convolution>& convolution) {
    if (!ov::is_type<ov::op::v0::Constant>(convolution->get_input_node_ptr(1))) {
      return;
    }
    if (winograd::fits(*convolution)) {
      replaced_ += winograd::replace(convolution, winograd_kernels_, true, packed_) ? 1 : 0;
    } else if (fits(*convolution)) {
      ++replaced_;
      const Chain chain = winograd::follow(convolution, outputs_of(*convolution));
      const std::shared_ptr<ov::Node> user = winograd::only_user(*chain.last);
      if (chain.activation != Activation::none || !has_whole_vectors(*convolution) ||
          !sums_.contains(user.get())) {
        replace_chain(*convolution, chain, {convolution->input_value(0)}, kernels_);
        return;
      }
      // Of two that go into one sum, the later one finds the other's values.
      if (const auto earlier = waiting_.find(user.get()); earlier != waiting_.end()) {
        const Waiting& other = earlier->second;
        replace_chain(*other.convolution, other.chain, {other.convolution->input_value(0)},
                      kernels_);
      }
      waiting_.insert_or_assign(user.get(), Waiting{convolution, chain});
    }
  }

  void replace_sum(const std::shared_ptr<ov::Node>& sum, const Waiting& waiting) const {
    const std::size_t other = sum->get_input_node_ptr(0) == waiting.chain.last.get() ? 1 : 0;
    const ov::OutputVector inputs{waiting.convolution->input_value(0), sum->input_value(other)};
    Chain chain{sum, waiting.chain.bias};
    winograd::follow_activation(chain);
    replace_chain(*waiting.convolution, chain, inputs, kernels_);
  }

  ov::NodeVector operations_;
  winograd::PackedConvolutions packed_;
  const winograd::Kernels& winograd_kernels_;
  const Kernels& kernels_;
  std::unordered_set<const ov::Node*> sums_;  // of two values of the same shape
  std::unordered_map<const ov::Node*, Waiting> waiting_;
  int replaced_ = 0;
};

}  // namespace

int use_split(const std::shared_ptr<ov::Model>& model, const winograd::Kernels& winograd_kernels,
              const Kernels& kernels) {
  // As for use_winograd.
  ov::pass::ConstantFolding().run_on_model(model);
  use_channels_last_resizes(model);
  use_channels_last_group_norms(model);
  const int replaced = Change(model->get_ordered_ops(), winograd_kernels, kernels).run();
  leave_out_transpositions(model);
  return replaced;
}

bool suits_split(const ov::Model& model) {
  return model.is_dynamic() && std::ranges::none_of(model.get_ops(), [](const auto& node) {
           return ov::is_type<ov::op::v1::GroupConvolution>(node);
         });
}

}  // namespace instseg::split
