// Images with their channels last through operations of OpenVINO.
#pragma once

#include <memory>
#include <openvino/core/node.hpp>

namespace instseg::split {

// Where an operation takes channels_first values and can take what is before them as well, it does,
// and a channels_first follows it. Operations have to be given in the order of computation.
//
// Each transposition that is left takes a pass over the values. (OpenVINO has one for nothing only
// where sizes are fixed, and next to operations that it gives its own order, as its convolutions.)
void carry_channels_last(const std::shared_ptr<ov::Node>& node);

}  // namespace instseg::split
