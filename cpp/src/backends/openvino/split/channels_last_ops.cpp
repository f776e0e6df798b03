#include "backends/openvino/split/channels_last_ops.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "backends/openvino/operation.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::split {
namespace {

using openvino_backend::reshape;
using winograd::OpenVinoThreads;

std::int64_t windows(std::int64_t pixels, const ChannelsLastPool::Axis& axis, bool partial) {
  const std::int64_t room = pixels + axis.before + axis.after - axis.kernel;
  const std::int64_t rounding = partial ? axis.stride - 1 : 0;
  return std::max<std::int64_t>(0, room + rounding + axis.stride) / axis.stride;
}

ov::Dimension windows(const ov::Dimension& pixels, const ChannelsLastPool::Axis& axis,
                      bool partial) {
  const std::int64_t most = pixels.get_max_length();
  return {windows(pixels.get_min_length(), axis, partial),
          most < 0 ? -1 : windows(most, axis, partial)};
}

// Pixels of one axis that a window covers.
struct Span {
  std::int64_t begin;
  std::int64_t end;
};

Span covered(std::int64_t window, const ChannelsLastPool::Axis& axis, std::int64_t pixels) {
  const std::int64_t begin = window * axis.stride - axis.before;
  return {std::max<std::int64_t>(begin, 0), std::min(begin + axis.kernel, pixels)};
}

void take_largest(float* output, const float* values, std::size_t channels) {
  for (std::size_t c = 0; c < channels; ++c) {
    output[c] = std::max(output[c], values[c]);
  }
}

void add(float* output, const float* values, std::size_t channels) {
  for (std::size_t c = 0; c < channels; ++c) {
    output[c] += values[c];
  }
}

void divide(float* output, float count, std::size_t channels) {
  for (std::size_t c = 0; c < channels; ++c) {
    output[c] /= count;
  }
}

void pool(const float* image, float* output, const ov::Shape& shape, const Span& rows,
          const Span& columns, bool mean) {
  const std::size_t channels = shape[3];
  std::fill_n(output, channels, mean ? 0.0F : std::numeric_limits<float>::lowest());
  for (std::int64_t y = rows.begin; y < rows.end; ++y) {
    for (std::int64_t x = columns.begin; x < columns.end; ++x) {
      const std::size_t pixel =
          static_cast<std::size_t>(y) * shape[2] + static_cast<std::size_t>(x);
      (mean ? add : take_largest)(output, image + pixel * channels, channels);
    }
  }
  if (mean) {
    divide(output, static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin)),
           channels);
  }
}

// Where each pixel of an axis comes from, in float32 as OpenVINO computes it.
std::vector<std::size_t> sources(std::size_t from, std::size_t to) {
  const float scale = static_cast<float>(to) / static_cast<float>(from);
  std::vector<std::size_t> result(to);
  for (std::size_t i = 0; i < to; ++i) {
    result[i] = std::min(static_cast<std::size_t>(static_cast<float>(i) / scale), from - 1);
  }
  return result;
}

}  // namespace

ChannelsLastPool::ChannelsLastPool(const ov::Output<ov::Node>& input, const Window& window)
    : Op({input}), window_(window) {
  constructor_validate_and_infer_types();
}

void ChannelsLastPool::validate_and_infer_types() {
  ov::PartialShape shape = get_input_partial_shape(0);
  NODE_VALIDATION_CHECK(this, shape.rank().compatible(4), "expected four axes, found ", shape);
  if (shape.rank().is_static()) {
    shape[1] = windows(shape[1], window_.rows, window_.partial);
    shape[2] = windows(shape[2], window_.columns, window_.partial);
  }
  set_output_type(0, ov::element::f32, shape);
}

std::shared_ptr<ov::Node> ChannelsLastPool::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<ChannelsLastPool>(inputs.at(0), window_);
}

bool ChannelsLastPool::visit_attributes(ov::AttributeVisitor& visitor) {
  visitor.on_attribute("mean", window_.mean);
  visitor.on_attribute("partial", window_.partial);
  const auto visit = [&](const std::string& name, Axis& axis) {
    visitor.on_attribute(name + "_kernel", axis.kernel);
    visitor.on_attribute(name + "_stride", axis.stride);
    visitor.on_attribute(name + "_before", axis.before);
    visitor.on_attribute(name + "_after", axis.after);
  };
  visit("row", window_.rows);
  visit("column", window_.columns);
  return true;
}

bool ChannelsLastPool::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  const ov::Shape shape = inputs[0].get_shape();
  const auto height = static_cast<std::int64_t>(shape[1]);
  const auto width = static_cast<std::int64_t>(shape[2]);
  const auto rows = static_cast<std::size_t>(windows(height, window_.rows, window_.partial));
  const auto columns = static_cast<std::size_t>(windows(width, window_.columns, window_.partial));
  reshape(outputs[0], {shape[0], rows, columns, shape[3]});
  const float* const input = inputs[0].data<const float>();
  float* const output = outputs[0].data<float>();
  OpenVinoThreads().run(static_cast<int>(shape[0] * rows), [&](int number) {
    const auto row = static_cast<std::size_t>(number);
    const float* const image = input + row / rows * shape[1] * shape[2] * shape[3];
    const Span of_rows = covered(static_cast<std::int64_t>(row % rows), window_.rows, height);
    for (std::size_t x = 0; x < columns; ++x) {
      pool(image, output + (row * columns + x) * shape[3], shape, of_rows,
           covered(static_cast<std::int64_t>(x), window_.columns, width), window_.mean);
    }
  });
  return true;
}

ChannelsLastResize::ChannelsLastResize(const ov::Output<ov::Node>& input,
                                       const ov::Output<ov::Node>& like)
    : Op({input, like}) {
  constructor_validate_and_infer_types();
}

void ChannelsLastResize::validate_and_infer_types() {
  const ov::PartialShape& input = get_input_partial_shape(0);
  const ov::PartialShape& like = get_input_partial_shape(1);
  NODE_VALIDATION_CHECK(this, input.rank().compatible(4) && like.rank().compatible(4),
                        "expected four axes, found ", input, " and ", like);
  ov::PartialShape output = ov::PartialShape::dynamic(4);
  if (input.rank().is_static() && like.rank().is_static()) {
    output = {input[0], like[1], like[2], input[3]};
  }
  set_output_type(0, ov::element::f32, output);
}

std::shared_ptr<ov::Node> ChannelsLastResize::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<ChannelsLastResize>(inputs.at(0), inputs.at(1));
}

bool ChannelsLastResize::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  const ov::Shape from = inputs[0].get_shape();
  const ov::Shape like = inputs[1].get_shape();
  const ov::Shape to{from[0], like[1], like[2], from[3]};
  reshape(outputs[0], to);
  if (ov::shape_size(to) == 0) {
    return true;
  }
  OPENVINO_ASSERT(ov::shape_size(from) > 0, get_friendly_name(), ": no pixels to take");
  const std::vector<std::size_t> rows = sources(from[1], to[1]);
  const std::vector<std::size_t> columns = sources(from[2], to[2]);
  const float* const input = inputs[0].data<const float>();
  float* const output = outputs[0].data<float>();
  OpenVinoThreads().run(static_cast<int>(to[0] * to[1]), [&](int number) {
    const auto row = static_cast<std::size_t>(number);
    const std::size_t source_row = row / to[1] * from[1] + rows[row % to[1]];
    for (std::size_t x = 0; x < to[2]; ++x) {
      std::memcpy(output + (row * to[2] + x) * to[3],
                  input + (source_row * from[2] + columns[x]) * from[3], to[3] * sizeof(float));
    }
  });
  return true;
}

ChannelsLastBlocks::ChannelsLastBlocks(const ov::Output<ov::Node>& input, std::int64_t side)
    : Op({input}), side_(side) {
  constructor_validate_and_infer_types();
}

void ChannelsLastBlocks::validate_and_infer_types() {
  ov::PartialShape shape = get_input_partial_shape(0);
  NODE_VALIDATION_CHECK(
      this,
      shape.rank() == 4 && shape[3].is_static() && shape[3].get_length() % (side_ * side_) == 0,
      "expected pixels of ", side_ * side_, " parts, found ", shape);
  shape[1] = shape[1] * side_;
  shape[2] = shape[2] * side_;
  shape[3] = shape[3].get_length() / (side_ * side_);
  set_output_type(0, ov::element::f32, shape);
}

std::shared_ptr<ov::Node> ChannelsLastBlocks::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<ChannelsLastBlocks>(inputs.at(0), side_);
}

bool ChannelsLastBlocks::visit_attributes(ov::AttributeVisitor& visitor) {
  visitor.on_attribute("side", side_);
  return true;
}

bool ChannelsLastBlocks::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  const ov::Shape from = inputs[0].get_shape();
  const auto side = static_cast<std::size_t>(side_);
  const ov::Shape to{from[0], from[1] * side, from[2] * side, from[3] / (side * side)};
  reshape(outputs[0], to);
  const float* const input = inputs[0].data<const float>();
  float* const output = outputs[0].data<float>();
  const std::size_t row_of_block = side * to[3];  // in floats
  OpenVinoThreads().run(static_cast<int>(to[0] * to[1]), [&](int number) {
    const auto row = static_cast<std::size_t>(number);
    const float* const source = input + row / side * from[2] * from[3] + row % side * row_of_block;
    float* const target = output + row * to[2] * to[3];
    for (std::size_t x = 0; x < from[2]; ++x) {
      std::memcpy(target + x * row_of_block, source + x * from[3], row_of_block * sizeof(float));
    }
  });
  return true;
}

}  // namespace instseg::split
