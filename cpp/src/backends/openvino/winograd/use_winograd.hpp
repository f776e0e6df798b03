// The change of a graph to Winograd convolutions.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>
#include <openvino/op/convolution.hpp>

#include "backends/openvino/winograd/kernels.hpp"
#include "backends/openvino/winograd/packed.hpp"

namespace instseg::winograd {

// Replaces the convolutions of a float32 graph that are faster this way, each with the bias and the
// ReLU or SiLU behind it, and folds constants. Returns how many there were.
int use_winograd(const std::shared_ptr<ov::Model>& model, const Kernels& kernels);

// Whether it is one of them, if its weights are constants.
bool fits(const ov::op::v1::Convolution& convolution);

// With its channels last, input and output, and transpositions around it; or else first. False
// where its weights are no constant: then nothing is changed. packed: of this graph.
bool replace(const std::shared_ptr<ov::op::v1::Convolution>& convolution, const Kernels& kernels,
             bool channels_are_last, PackedConvolutions& packed);

}  // namespace instseg::winograd
