#include "backends/stage_sizes.hpp"

#include <algorithm>

namespace instseg {

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

StageSizes::StageSizes(const StageSpec& stage) : stage_(&stage) {
  for (const auto* tensors : {&stage.inputs, &stage.outputs}) {
    for (const TensorSpec& tensor : *tensors) {
      std::vector<std::size_t>& axes = axes_.emplace_back();
      for (const Dimension& dimension : tensor.shape) {
        axes.push_back(index_of(dimension));
      }
    }
  }
}

void StageSizes::clear() {
  for (Name& name : names_) {
    name.size = -1;
  }
}

std::string StageSizes::bind(std::size_t tensor, std::span<const std::int64_t> shape) {
  const TensorSpec& expected = spec(tensor);
  const auto wrong = [&](const std::string& why) {
    return label(tensor) + " has shape " + shape_text(shape) + ", the manifest says " +
           to_string(expected.shape) + why;
  };
  if (shape.size() != expected.shape.size()) {
    return wrong("");
  }
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const std::size_t index = axes_[tensor][axis];
    if (index == kFixed) {
      if (shape[axis] != expected.shape[axis].size) {
        return wrong("");
      }
      continue;
    }
    Name& name = names_[index];
    if (name.size < 0) {
      name.size = shape[axis];
      name.tensor = tensor;
    } else if (name.size != shape[axis]) {
      return wrong(", and '" + name.name + "' is " + std::to_string(name.size) + " in " +
                   label(name.tensor));
    }
  }
  return {};
}

bool StageSizes::resolve(std::size_t tensor, std::vector<std::int64_t>& shape) const {
  shape.clear();
  for (std::size_t axis = 0; axis < axes_[tensor].size(); ++axis) {
    const std::size_t index = axes_[tensor][axis];
    shape.push_back(index == kFixed ? spec(tensor).shape[axis].size : names_[index].size);
  }
  return std::ranges::none_of(shape, [](std::int64_t size) { return size < 0; });
}

std::size_t StageSizes::index_of(const Dimension& dimension) {
  if (dimension.fixed()) {
    return kFixed;
  }
  const auto found =
      std::ranges::find_if(names_, [&](const Name& name) { return name.name == dimension.name; });
  if (found != names_.end()) {
    return static_cast<std::size_t>(found - names_.begin());
  }
  names_.push_back({dimension.name, -1, 0});
  return names_.size() - 1;
}

const TensorSpec& StageSizes::spec(std::size_t tensor) const {
  const std::size_t inputs = stage_->inputs.size();
  return tensor < inputs ? stage_->inputs[tensor] : stage_->outputs[tensor - inputs];
}

std::string StageSizes::label(std::size_t tensor) const {
  return (tensor < stage_->inputs.size() ? "input '" : "output '") + spec(tensor).name + "'";
}

}  // namespace instseg
