// The change of a graph to resizes with their channels last.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

namespace instseg::split {

// Replaces the resizes of images of open size to the nearest pixel, where the size is that of
// another image of the graph, as in feature pyramids. Constants have to be folded.
void use_channels_last_resizes(const std::shared_ptr<ov::Model>& model);

}  // namespace instseg::split
