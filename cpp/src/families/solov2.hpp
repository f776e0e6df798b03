// SOLOv2: one stage; a class score and the kernel of a mask for each cell of several grids.
#pragma once

#include "families/family.hpp"

namespace instseg {

void check_solov2(const BundleInfo& bundle);
std::unique_ptr<Family> create_solov2(const BundleInfo& bundle, const SessionFactory& sessions);

}  // namespace instseg
