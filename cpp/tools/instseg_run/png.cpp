// libpng reports errors by a function that must not return; as in jpeg.cpp, the functions that it
// jumps to have no objects with destructors.
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>

#include "instseg/error.hpp"
#include "instseg_run/image_io.hpp"

namespace instseg::image_io {
namespace {

struct Source {
  Bytes data;
  std::array<char, 256> message{};
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* const source = static_cast<Source*>(png_get_error_ptr(png));
  std::strncpy(source->message.data(), text, source->message.size() - 1);
  png_longjmp(png, 1);
}

// Warnings are about chunks that do not change the pixels.
void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep out, std::size_t size) {
  auto* const source = static_cast<Source*>(png_get_io_ptr(png));
  if (source->data.size() < size) {
    png_error(png, "the file ends early");
  }
  std::memcpy(out, source->data.data(), size);
  source->data = source->data.subspan(size);
}

struct Decoder {
  Source source;
  png_structp png;
  png_infop info;

  explicit Decoder(Bytes data)
      : source{data, {}},
        png(png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, on_error, on_warning)),
        info(png != nullptr ? png_create_info_struct(png) : nullptr) {
    if (info == nullptr) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      throw Error(ErrorCode::out_of_memory, "out of memory for a PNG decoder");
    }
  }
  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

bool read_header(Decoder& decoder) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) {
    return false;
  }
  png_set_read_fn(decoder.png, &decoder.source, on_read);
  png_set_user_limits(decoder.png, kMaxImageSide, kMaxImageSide);
  png_read_info(decoder.png, decoder.info);
  return true;
}

// Every kind of PNG to 8-bit BGR; a tRNS chunk is alpha, which is dropped.
bool read_pixels(Decoder& decoder, png_bytep* rows) {
  if (setjmp(png_jmpbuf(decoder.png)) != 0) {
    return false;
  }
  const png_byte color = png_get_color_type(decoder.png, decoder.info);
  png_set_strip_16(decoder.png);
  if (color == PNG_COLOR_TYPE_PALETTE) {
    png_set_palette_to_rgb(decoder.png);
  } else if ((color & PNG_COLOR_MASK_COLOR) == 0) {
    png_set_expand_gray_1_2_4_to_8(decoder.png);
    png_set_gray_to_rgb(decoder.png);
  }
  png_set_strip_alpha(decoder.png);
  png_set_bgr(decoder.png);
  png_set_interlace_handling(decoder.png);
  png_read_update_info(decoder.png, decoder.info);
  if (png_get_rowbytes(decoder.png, decoder.info) !=
      std::size_t{3} * png_get_image_width(decoder.png, decoder.info)) {
    png_error(decoder.png, "rows have an unexpected size");
  }
  png_read_image(decoder.png, rows);
  png_read_end(decoder.png, nullptr);
  return true;
}

int orientation(const Decoder& decoder) {
#ifdef PNG_eXIf_SUPPORTED
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(decoder.png, decoder.info, &size, &exif) != 0) {
    return exif_orientation({exif, size});
  }
#endif
  return 1;
}

}  // namespace

DecodedImage decode_png(Bytes data, const std::string& name) {
  Decoder decoder(data);
  const auto fail = [&] {
    throw Error(ErrorCode::io,
                name + ": damaged or truncated PNG: " + decoder.source.message.data());
  };
  if (!read_header(decoder)) {
    fail();
  }
  const png_uint_32 height = png_get_image_height(decoder.png, decoder.info);
  const png_uint_32 width = png_get_image_width(decoder.png, decoder.info);
  check_size(height, width, name);
  DecodedImage image{static_cast<int>(height), static_cast<int>(width), {}};
  image.pixels.resize(std::size_t{3} * height * width);
  std::vector<png_bytep> rows(height);
  for (std::size_t y = 0; y < height; ++y) {
    rows[y] = image.pixels.data() + 3 * y * width;
  }
  const int turned = orientation(decoder);
  if (!read_pixels(decoder, rows.data())) {
    fail();
  }
  apply_orientation(image, turned);
  return image;
}

}  // namespace instseg::image_io
