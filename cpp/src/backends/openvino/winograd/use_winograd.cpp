#include "backends/openvino/winograd/use_winograd.hpp"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/pass/constant_folding.hpp>
#include <unordered_set>
#include <utility>

#include "backends/openvino/winograd/chain.hpp"
#include "backends/openvino/winograd/channels_last.hpp"
#include "backends/openvino/winograd/transform.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::winograd {
namespace {

// With fewer channels the transforms take longer than the multiplications that they save.
constexpr std::size_t kLeastChannels = 32;

// What one of ours alone gives to others of ours has its channels last, which saves turning vectors
// of channels into rows of pixels and back.
void keep_channels_last_between(const ov::NodeVector& operations) {
  std::unordered_set<const ov::Node*> kept;  // others were replaced, and somebody still holds them
  for (const std::shared_ptr<ov::Node>& node : operations) {
    kept.insert(node.get());
  }
  for (const std::shared_ptr<ov::Node>& node : operations) {
    const auto giver = ov::as_type_ptr<WinogradConvolution>(node);
    if (giver == nullptr || giver->layouts().output_channels_last) {
      continue;
    }
    std::vector<WinogradConvolution*> takers;
    const auto targets = giver->output(0).get_target_inputs();
    for (const ov::Input<ov::Node>& target : targets) {
      if (!kept.contains(target.get_node())) {
        continue;
      }
      takers.push_back(ov::as_type<WinogradConvolution>(target.get_node()));
    }
    if (takers.empty() || std::ranges::find(takers, nullptr) != takers.end()) {
      continue;
    }
    giver->set_layouts({giver->layouts().input_channels_last, true});
    for (WinogradConvolution* const taker : takers) {
      taker->set_layouts({true, taker->layouts().output_channels_last});
    }
  }
}

}  // namespace

bool fits(const ov::op::v1::Convolution& convolution) {
  const ov::Strides ones{1, 1};
  const ov::CoordinateDiff border{1, 1};
  const ov::PartialShape& weights = convolution.get_input_partial_shape(1);
  if (convolution.get_element_type() != ov::element::f32 || weights.is_dynamic() ||
      weights.size() != 4 || convolution.get_strides() != ones ||
      convolution.get_dilations() != ones || convolution.get_pads_begin() != border ||
      convolution.get_pads_end() != border) {
    return false;
  }
  const ov::Shape shape = weights.to_shape();
  const auto enough = [](std::size_t channels) {
    return channels >= kLeastChannels && channels % Convolution::kChannelMultiple == 0;
  };
  return shape[2] == kKernelSide && shape[3] == kKernelSide && enough(shape[0]) && enough(shape[1]);
}

bool replace(const std::shared_ptr<ov::op::v1::Convolution>& convolution, const Kernels& kernels,
             bool channels_are_last, PackedConvolutions& packed_ones) {
  const auto weights =
      ov::as_type_ptr<ov::op::v0::Constant>(convolution->get_input_node_shared_ptr(1));
  if (weights == nullptr) {
    return false;
  }
  const ov::Shape shape = weights->get_shape();
  const Chain chain = follow(convolution, shape[0]);
  const auto packed = packed_ones.get(weights->get_data_ptr(), chain, [&] {
    return std::make_shared<const Convolution>(
        kernels, weights->cast_vector<float>(), static_cast<std::int64_t>(shape[0]),
        static_cast<std::int64_t>(shape[1]), chain.bias, chain.activation, OpenVinoThreads());
  });
  const ov::Output<ov::Node> input = convolution->input_value(0);
  std::shared_ptr<ov::Node> result;
  if (channels_are_last) {
    const auto op = std::make_shared<WinogradConvolution>(channels_last(input), packed,
                                                          WinogradConvolution::Layouts{true, true});
    op->set_friendly_name(convolution->get_friendly_name());
    result = channels_first(op);
  } else {
    result = std::make_shared<WinogradConvolution>(input, packed,
                                                   WinogradConvolution::Layouts{false, false});
  }
  result->set_friendly_name(chain.last->get_friendly_name());
  ov::replace_node(chain.last, result);
  return true;
}

int use_winograd(const std::shared_ptr<ov::Model>& model, const Kernels& kernels) {
  // Until they are folded, biases are reshaped by operations that look at the convolution's shape,
  // and weights that are stored as float16 are converted.
  ov::pass::ConstantFolding().run_on_model(model);
  int replaced = 0;
  PackedConvolutions packed;
  // In the order of computation: an operation finds what comes before it replaced already. All are
  // kept, so that the weights stay where they are.
  const ov::NodeVector operations = model->get_ordered_ops();
  for (const std::shared_ptr<ov::Node>& node : operations) {
    const auto convolution = ov::as_type_ptr<ov::op::v1::Convolution>(node);
    if (convolution == nullptr || !fits(*convolution)) {
      keep_channels_last(node);
    } else {
      // Elsewhere OpenVINO does not recognise that the transpositions are nothing to do.
      const bool fixed = convolution->get_input_partial_shape(0).is_static();
      replaced += replace(convolution, kernels, fixed, packed) ? 1 : 0;
    }
  }
  keep_channels_last_between(model->get_ordered_ops());
  return replaced;
}

}  // namespace instseg::winograd
