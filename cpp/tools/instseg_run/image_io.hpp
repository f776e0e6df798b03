// Image files -> pixels, as OpenCV's imread gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "instseg/image.hpp"

namespace instseg::image_io {

// BGR, 8 bits, rows without padding.
struct DecodedImage {
  int height = 0;
  int width = 0;
  std::vector<std::uint8_t> pixels;

  [[nodiscard]] ImageView view() const {
    return {pixels.data(), height, width, std::ptrdiff_t{3} * width, PixelFormat::bgr8};
  }
};

// Reads JPEG, PNG (where built with them) or PNM, told apart by their first bytes; EXIF orientation
// is applied, grey is replicated, alpha is dropped, 16-bit samples keep their high byte.
//
// Throws Error io for a file that cannot be read, is damaged or truncated; unsupported for another
// format or kind.
DecodedImage read_image(const std::filesystem::path& file);

using Bytes = std::span<const std::uint8_t>;

// Decoders of one format; `name` is for messages.
DecodedImage decode_jpeg(Bytes data, const std::string& name);
DecodedImage decode_png(Bytes data, const std::string& name);
DecodedImage decode_pnm(Bytes data, const std::string& name);

// Throws Error(unsupported) where an image of this size is not accepted.
void check_size(std::uint64_t height, std::uint64_t width, const std::string& name);

// EXIF orientation, 1 to 8, of a TIFF block (what follows "Exif\0\0"); 1 where there is none or it
// is not readable.
int exif_orientation(Bytes tiff);

// Turns and mirrors the image so that orientation 1 holds.
void apply_orientation(DecodedImage& image, int orientation);

}  // namespace instseg::image_io
