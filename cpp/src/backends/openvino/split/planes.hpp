// Images of open size that are needed with their channels first.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

namespace instseg::split {

// Leaves out transpositions that cost a pass over an image: Winograd convolutions read and write
// channels first as well, and a shape is known without the image.
void leave_out_transpositions(const std::shared_ptr<ov::Model>& model);

}  // namespace instseg::split
