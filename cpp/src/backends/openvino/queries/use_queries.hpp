// The change of a graph to the plug-in's own operations of queries.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

#include "backends/openvino/queries/kernels.hpp"

namespace instseg::queries {

// Replaces, in a float32 graph, the sampling of deformable attention together with the projection
// of the feature maps (sampled_projection.hpp), and masks of which only the extents are wanted
// (mask_extents.hpp), where sizes are fixed. Folds constants. Returns how many there were.
int use_queries(const std::shared_ptr<ov::Model>& model, const winograd::Kernels& products);

}  // namespace instseg::queries
