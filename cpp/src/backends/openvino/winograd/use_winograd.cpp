#include "backends/openvino/winograd/use_winograd.hpp"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
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

void replace(const std::shared_ptr<ov::op::v1::Convolution>& convolution,
             const std::vector<float>& weights, const Kernels& kernels, bool channels_are_last) {
  const ov::Shape shape = convolution->get_input_shape(1);
  const Chain chain = follow(convolution, shape[0]);
  const auto packed = std::make_shared<const Convolution>(
      kernels, weights, static_cast<std::int64_t>(shape[0]), static_cast<std::int64_t>(shape[1]),
      chain.bias, chain.activation, OpenVinoThreads());
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
}

int use_winograd(const std::shared_ptr<ov::Model>& model, const Kernels& kernels) {
  // Until they are folded, biases are reshaped by operations that look at the convolution's shape,
  // and weights that are stored as float16 are converted.
  ov::pass::ConstantFolding().run_on_model(model);
  int replaced = 0;
  // In the order of computation: an operation finds what comes before it replaced already.
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    const auto convolution = ov::as_type_ptr<ov::op::v1::Convolution>(node);
    if (convolution == nullptr || !fits(*convolution)) {
      keep_channels_last(node);
    } else if (const auto weights = constant_values(convolution->input_value(1))) {
      // Elsewhere OpenVINO does not recognise that the transpositions are nothing to do.
      const bool fixed = convolution->get_input_partial_shape(0).is_static();
      replace(convolution, *weights, kernels, fixed);
      ++replaced;
    }
  }
  keep_channels_last_between(model->get_ordered_ops());
  return replaced;
}

}  // namespace instseg::winograd
