// Mask R-CNN, plain and cascade, with and without a feature pyramid: a stage that gives feature
// maps and proposals, box heads and a mask head that are run on RoIs.
#pragma once

#include "families/family.hpp"

namespace instseg {

void check_mask_rcnn(const BundleInfo& bundle);
std::unique_ptr<Family> create_mask_rcnn(const BundleInfo& bundle, const SessionFactory& sessions);

}  // namespace instseg
