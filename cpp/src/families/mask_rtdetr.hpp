// Mask-RT-DETR: one stage; queries with class logits and boxes, and masks as products of a query's
// embedding with a feature map.
#pragma once

#include "families/family.hpp"

namespace instseg {

void check_mask_rtdetr(const BundleInfo& bundle);
std::unique_ptr<Family> create_mask_rtdetr(const BundleInfo& bundle,
                                           const SessionFactory& sessions);

}  // namespace instseg
