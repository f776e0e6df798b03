// The change of a graph to convolutions and products by the processor's matrix unit.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

#include "backends/openvino/split/kernels.hpp"
#include "backends/openvino/winograd/kernels.hpp"

namespace instseg::split {

// Replaces the convolutions of a float32 graph and its products with constant matrices, each with
// the bias, the sum with another image and the activation behind it, and folds constants.
// Convolutions that are faster by Winograd's method are done by it. What lies between them keeps
// its channels last. Returns how many were replaced.
int use_split(const std::shared_ptr<ov::Model>& model, const winograd::Kernels& winograd_kernels,
              const Kernels& kernels);

// Whether that makes the graph faster. Where sizes are fixed, OpenVINO's own convolutions between
// Winograd's cost no change of the order in memory, and the matrix unit gains too little for small
// ones. Convolutions of groups, which stay OpenVINO's, cost two such changes each.
bool suits_split(const ov::Model& model);

}  // namespace instseg::split
