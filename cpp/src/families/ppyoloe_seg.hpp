// PP-YOLOE_seg: one stage; boxes with class scores, and masks as linear combinations of prototypes.
#pragma once

#include "families/family.hpp"

namespace instseg {

void check_ppyoloe_seg(const BundleInfo& bundle);
std::unique_ptr<Family> create_ppyoloe_seg(const BundleInfo& bundle,
                                           const SessionFactory& sessions);

}  // namespace instseg
