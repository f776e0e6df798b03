// Instance masks: bit-packed crops of the original image, and what is made from them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "instseg/export.hpp"

namespace instseg {

// Half-open: pixel (x, y) is inside when x1 <= x < x2 and y1 <= y < y2.
struct Box {
  float x1 = 0.0F;
  float y1 = 0.0F;
  float x2 = 0.0F;
  float y2 = 0.0F;

  friend bool operator==(const Box&, const Box&) = default;
};

// A binary mask, stored for a crop of the image only; every pixel outside the crop is unset.
//
// Bit (x & 31) of word (x >> 5) of a row is pixel x of the crop, least significant bit first; rows
// are padded to whole words, and the padding bits are zero. A value type: copies are deep; a
// moved-from mask may only be assigned to or destroyed.
class INSTSEG_API PackedMask {
 public:
  PackedMask() = default;  // 0 x 0 at (0, 0)

  // `x`, `y`: the crop's top-left pixel; `width`, `height`: its size; `words`: height *
  // words_per_row() of them. Throws Error(invalid_argument) for negative or oversized geometry
  // (image.hpp has the limits), a wrong number of words, or padding bits that are set.
  PackedMask(int x, int y, int width, int height, std::vector<std::uint32_t> words);

  [[nodiscard]] int x() const noexcept { return x_; }
  [[nodiscard]] int y() const noexcept { return y_; }
  [[nodiscard]] int width() const noexcept { return width_; }
  [[nodiscard]] int height() const noexcept { return height_; }
  [[nodiscard]] int words_per_row() const noexcept { return (width_ + 31) / 32; }
  [[nodiscard]] std::span<const std::uint32_t> words() const noexcept { return words_; }

  // Is the pixel set? Image coordinates; false outside the crop.
  [[nodiscard]] bool test(int image_x, int image_y) const noexcept;
  // Number of set pixels.
  [[nodiscard]] std::int64_t area() const noexcept;
  // No pixel is set (the crop itself may still have a size).
  [[nodiscard]] bool empty() const noexcept;
  // Tight bounds of the set pixels, image coordinates; all zero when empty.
  [[nodiscard]] Box bounds() const noexcept;

  // Writes the whole image, image_height x image_width bytes, row-major, 0 or 1.
  // Throws Error(invalid_argument) when `out` has another size or the crop does not lie inside the
  // image.
  void unpack(std::span<std::uint8_t> out, int image_height, int image_width) const;

  // Same crop and same bits. Masks that set the same pixels with different crops are not equal.
  friend bool operator==(const PackedMask&, const PackedMask&) = default;

 private:
  int x_ = 0;
  int y_ = 0;
  int width_ = 0;
  int height_ = 0;
  std::vector<std::uint32_t> words_;
};

// COCO's compressed `counts` of the whole image, byte for byte what pycocotools writes: runs in
// column-major order, zeros first. Throws Error(invalid_argument) when the crop does not lie inside
// the image.
INSTSEG_API std::string encode_rle(const PackedMask& mask, int image_height, int image_width);

// The inverse; the crop is the tight bounds of the set pixels.
// Throws Error(invalid_argument) for bytes that are not such a string, or runs whose sum is not the
// image's size.
INSTSEG_API PackedMask decode_rle(std::string_view counts, int image_height, int image_width);

// A closed ring; the last point is joined to the first and not repeated. Image coordinates, pixel
// corners.
struct Polygon {
  std::vector<std::array<float, 2>> points;  // x, y
  bool hole = false;
};

// The exact outlines of the mask. Edges run along pixel borders, alternately horizontal and
// vertical (collinear points are merged). Outer rings run clockwise as seen on screen (y down),
// holes the other way; pixels that touch only at a corner belong to different rings. Filling all
// rings by the even-odd rule at pixel centres gives the mask again. A ring that starts higher comes
// first, so an outer ring precedes its holes.
INSTSEG_API std::vector<Polygon> polygons(const PackedMask& mask);

}  // namespace instseg
