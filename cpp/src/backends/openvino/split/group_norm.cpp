#include "backends/openvino/split/group_norm.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "backends/openvino/operation.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::split {
namespace {

using winograd::OpenVinoThreads;

// Parts of an image, of which each is added up by one thread: as many for any number of threads.
constexpr std::size_t kParts = 16;

std::size_t begin_of(std::size_t part, std::size_t pixels) { return part * pixels / kParts; }

// Sums of each channel, and behind them sums of squares. In float64, so that the variance is the
// difference of two of them.
void add_up(const float* pixels, std::size_t count, std::size_t channels, double* sums) {
  double* const squares = sums + channels;
  for (std::size_t i = 0; i < count; ++i) {
    const float* const pixel = pixels + i * channels;
    for (std::size_t c = 0; c < channels; ++c) {
      const double value = pixel[c];
      sums[c] += value;
      squares[c] += value * value;
    }
  }
}

// y = x * scale + offset, of each channel of one image.
struct Line {
  std::vector<float> scale;
  std::vector<float> offset;
};

Line line_of(const double* sums, std::size_t pixels,
             const ChannelsLastGroupNorm::Settings& settings) {
  const std::size_t channels = settings.scale.size();
  const std::size_t width = channels / settings.groups;
  const auto count = static_cast<double>(pixels * width);
  Line line{std::vector<float>(channels), std::vector<float>(channels)};
  for (std::size_t first = 0; first < channels; first += width) {
    double sum = 0;
    double squares = 0;
    for (std::size_t part = 0; part < kParts; ++part) {
      for (std::size_t c = first; c < first + width; ++c) {
        sum += sums[part * 2 * channels + c];
        squares += sums[part * 2 * channels + channels + c];
      }
    }
    const double mean = sum / count;
    const double variance = std::max(squares / count - mean * mean, 0.0);
    const double factor = 1 / std::sqrt(variance + settings.epsilon);
    for (std::size_t c = first; c < first + width; ++c) {
      line.scale[c] = static_cast<float>(factor * settings.scale[c]);
      line.offset[c] = static_cast<float>(settings.offset[c] - mean * factor * settings.scale[c]);
    }
  }
  return line;
}

void apply(const Line& line, const float* input, float* output, std::size_t count, bool relu) {
  const std::size_t channels = line.scale.size();
  const float* const scale = line.scale.data();
  const float* const offset = line.offset.data();
  for (std::size_t i = 0; i < count; ++i) {
    const float* const from = input + i * channels;
    float* const to = output + i * channels;
    for (std::size_t c = 0; c < channels; ++c) {
      to[c] = from[c] * scale[c] + offset[c];
    }
    if (relu) {
      for (std::size_t c = 0; c < channels; ++c) {
        to[c] = std::max(to[c], 0.0F);
      }
    }
  }
}

}  // namespace

ChannelsLastGroupNorm::ChannelsLastGroupNorm(const ov::Output<ov::Node>& input,
                                             std::shared_ptr<const Settings> settings)
    : Op({input}), settings_(std::move(settings)) {
  constructor_validate_and_infer_types();
}

void ChannelsLastGroupNorm::validate_and_infer_types() {
  const ov::PartialShape& shape = get_input_partial_shape(0);
  NODE_VALIDATION_CHECK(
      this,
      shape.rank() == 4 && shape[3].compatible(static_cast<std::int64_t>(settings_->scale.size())),
      "expected images of ", settings_->scale.size(), " channels, found ", shape);
  set_output_type(0, ov::element::f32, shape);
}

std::shared_ptr<ov::Node> ChannelsLastGroupNorm::clone_with_new_inputs(
    const ov::OutputVector& inputs) const {
  return std::make_shared<ChannelsLastGroupNorm>(inputs.at(0), settings_);
}

bool ChannelsLastGroupNorm::visit_attributes(ov::AttributeVisitor& visitor) {
  openvino_backend::visit_identity(visitor, "settings", settings_.get());
  return true;
}

bool ChannelsLastGroupNorm::evaluate(ov::TensorVector& outputs,
                                     const ov::TensorVector& inputs) const {
  const ov::Shape shape = inputs[0].get_shape();
  openvino_backend::reshape(outputs[0], shape);
  if (ov::shape_size(shape) == 0) {
    return true;
  }
  const std::size_t channels = shape[3];
  const std::size_t pixels = shape[1] * shape[2];
  const float* const input = inputs[0].data<const float>();
  float* const output = outputs[0].data<float>();
  const auto each_part = [&](const auto& body) {
    OpenVinoThreads().run(static_cast<int>(shape[0] * kParts), [&](int number) {
      const auto index = static_cast<std::size_t>(number);
      const std::size_t part = index % kParts;
      const std::size_t begin = begin_of(part, pixels);
      const std::size_t first = (index / kParts * pixels + begin) * channels;
      body(index, first, begin_of(part + 1, pixels) - begin);
    });
  };
  std::vector<double> sums(shape[0] * kParts * 2 * channels);
  each_part([&](std::size_t index, std::size_t first, std::size_t count) {
    add_up(input + first, count, channels, sums.data() + index * 2 * channels);
  });
  std::vector<Line> lines;
  for (std::size_t image = 0; image < shape[0]; ++image) {
    lines.push_back(line_of(sums.data() + image * kParts * 2 * channels, pixels, *settings_));
  }
  each_part([&](std::size_t index, std::size_t first, std::size_t count) {
    apply(lines[index / kParts], input + first, output + first, count, settings_->relu);
  });
  return true;
}

}  // namespace instseg::split
