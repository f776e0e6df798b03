// Argument checks that the mask functions share.
#pragma once

#include "instseg/mask.hpp"

namespace instseg {

// All throw Error(invalid_argument); `where` opens the message.
void check_mask_image(int image_height, int image_width, const char* where);
void check_mask_in_image(const PackedMask& mask, int image_height, int image_width,
                         const char* where);

// `what` is an image or a map; it must have at least one pixel.
void check_size(const char* where, const char* what, int width, int height);

}  // namespace instseg
