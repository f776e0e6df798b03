// Argument checks that the mask functions share.
#pragma once

#include "instseg/mask.hpp"

namespace instseg {

// Both throw Error(invalid_argument); `where` opens the message.
void check_mask_image(int image_height, int image_width, const char* where);
void check_mask_in_image(const PackedMask& mask, int image_height, int image_width,
                         const char* where);

}  // namespace instseg
