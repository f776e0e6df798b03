// The change of a graph to group normalisations with their channels last.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

namespace instseg::split {

// Replaces the normalisations of groups of channels as ONNX has them: reshaped to the groups,
// normalised, and reshaped back. Constants have to be folded.
void use_channels_last_group_norms(const std::shared_ptr<ov::Model>& model);

}  // namespace instseg::split
