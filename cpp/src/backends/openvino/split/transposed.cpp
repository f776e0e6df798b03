#include "backends/openvino/split/transposed.hpp"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <optional>
#include <vector>

#include "backends/openvino/split/channels_last_ops.hpp"
#include "backends/openvino/split/split_op.hpp"
#include "backends/openvino/winograd/chain.hpp"
#include "backends/openvino/winograd/channels_last.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::split {
namespace {

bool fits(const ov::op::v1::ConvolutionBackpropData& node) {
  const ov::PartialShape& weights = node.get_input_partial_shape(1);
  if (node.get_element_type() != ov::element::f32 || weights.is_dynamic() || weights.size() != 4 ||
      node.get_input_size() > 2) {
    return false;
  }
  const ov::op::PadType type = node.get_auto_pad();
  const ov::Shape shape = weights.to_shape();
  const auto none = [](const ov::CoordinateDiff& border) {
    return std::ranges::all_of(border, [](std::ptrdiff_t pixels) { return pixels == 0; });
  };
  return (type == ov::op::PadType::EXPLICIT || type == ov::op::PadType::NOTSET) &&
         none(node.get_pads_begin()) && none(node.get_pads_end()) &&
         none(node.get_output_padding()) && node.get_dilations() == ov::Strides{1, 1} &&
         shape[2] == shape[3] && node.get_strides() == ov::Strides{shape[2], shape[2]} &&
         shape[1] * shape[2] * shape[3] % Convolution::kOutputMultiple == 0;
}

// From [inputs][outputs][points] to [points][outputs][inputs].
std::vector<float> by_points(const std::vector<float>& values, std::size_t inputs,
                             std::size_t outputs, std::size_t points) {
  std::vector<float> result(values.size());
  for (std::size_t i = 0; i < inputs; ++i) {
    for (std::size_t o = 0; o < outputs; ++o) {
      for (std::size_t p = 0; p < points; ++p) {
        result[(p * outputs + o) * inputs + i] = values[(i * outputs + o) * points + p];
      }
    }
  }
  return result;
}

}  // namespace

bool replace_transposed(const std::shared_ptr<ov::op::v1::ConvolutionBackpropData>& node,
                        const Kernels& kernels) {
  const std::optional<std::vector<float>> values =
      fits(*node) ? winograd::constant_values(node->input_value(1)) : std::nullopt;
  if (!values) {
    return false;
  }
  const ov::Shape shape = node->get_input_shape(1);
  const std::size_t points = shape[2] * shape[3];
  const winograd::Chain chain = winograd::follow(node, shape[1]);
  std::vector<float> bias;
  for (std::size_t p = 0; p < points; ++p) {
    bias.insert(bias.end(), chain.bias.begin(), chain.bias.end());
  }
  const auto convolution = std::make_shared<const Convolution>(
      kernels, by_points(*values, shape[0], shape[1], points),
      static_cast<std::int64_t>(shape[1] * points), static_cast<std::int64_t>(shape[0]), Geometry{},
      bias, chain.activation, winograd::OpenVinoThreads());
  const auto op = std::make_shared<SplitConvolution>(
      ov::OutputVector{winograd::channels_last(node->input_value(0))}, convolution);
  op->set_friendly_name(node->get_friendly_name());
  const std::shared_ptr<ov::Node> result = winograd::channels_first(
      std::make_shared<ChannelsLastBlocks>(op, static_cast<std::int64_t>(shape[2])));
  result->set_friendly_name(chain.last->get_friendly_name());
  ov::replace_node(chain.last, result);
  return true;
}

}  // namespace instseg::split
