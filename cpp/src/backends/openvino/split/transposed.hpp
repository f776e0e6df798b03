// The change of a graph to split transposed convolutions.
#pragma once

#include <memory>
#include <openvino/op/convolution.hpp>

#include "backends/openvino/split/kernels.hpp"

namespace instseg::split {

// Replaces a transposed convolution whose results do not overlap, with the bias and the activation
// behind it: each pixel gives a block of its own, by a convolution of one point. Whether it did.
bool replace_transposed(const std::shared_ptr<ov::op::v1::ConvolutionBackpropData>& node,
                        const Kernels& kernels);

}  // namespace instseg::split
