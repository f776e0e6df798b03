// libjpeg reports errors by a function that must not return: it jumps back with longjmp. The
// function that the jump leads to has no objects with destructors; they belong to its caller.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs cstdio before it.
#include <jerror.h>
#include <jpeglib.h>

#include <array>
#include <cstring>

#include "instseg/error.hpp"
#include "instseg_run/image_io.hpp"

namespace instseg::image_io {
namespace {

struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg hands out a pointer to it
  std::jmp_buf jump;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* const manager = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, manager->message.data());
  std::longjmp(manager->jump, 1);
}

// libjpeg fills the rest of a truncated image with grey and only warns.
void on_message(j_common_ptr info, int level) {
  const int code = info->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) {
    on_error(info);
  }
}

enum class Outcome { decoded, failed, cmyk };

struct Decoder {
  jpeg_decompress_struct info{};
  ErrorManager errors{};

  Decoder() {
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = on_error;
    errors.base.emit_message = on_message;
  }
  ~Decoder() { jpeg_destroy_decompress(&info); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

Outcome read_header(Decoder& decoder, Bytes data) {
  if (setjmp(decoder.errors.jump) != 0) {
    return Outcome::failed;
  }
  jpeg_create_decompress(&decoder.info);
  jpeg_mem_src(&decoder.info, data.data(), data.size());
  jpeg_save_markers(&decoder.info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&decoder.info, TRUE);
  const J_COLOR_SPACE space = decoder.info.jpeg_color_space;
  if (space == JCS_CMYK || space == JCS_YCCK) {
    return Outcome::cmyk;
  }
#ifdef JCS_EXTENSIONS
  decoder.info.out_color_space = JCS_EXT_BGR;
#else
  decoder.info.out_color_space = JCS_RGB;
#endif
  return Outcome::decoded;
}

Outcome read_pixels(Decoder& decoder, std::uint8_t* out) {
  if (setjmp(decoder.errors.jump) != 0) {
    return Outcome::failed;
  }
  jpeg_start_decompress(&decoder.info);
  const std::size_t stride = std::size_t{3} * decoder.info.output_width;
  while (decoder.info.output_scanline < decoder.info.output_height) {
    JSAMPROW row = out + stride * decoder.info.output_scanline;
    jpeg_read_scanlines(&decoder.info, &row, 1);
  }
  jpeg_finish_decompress(&decoder.info);
  return Outcome::decoded;
}

int orientation(const jpeg_decompress_struct& info) {
  constexpr std::array<std::uint8_t, 6> kExif = {'E', 'x', 'i', 'f', 0, 0};
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->marker == JPEG_APP0 + 1 && marker->data_length > kExif.size() &&
        std::memcmp(marker->data, kExif.data(), kExif.size()) == 0) {
      return exif_orientation({marker->data + kExif.size(), marker->data_length - kExif.size()});
    }
  }
  return 1;
}

}  // namespace

DecodedImage decode_jpeg(Bytes data, const std::string& name) {
  Decoder decoder;
  const auto fail = [&] {
    throw Error(ErrorCode::io,
                name + ": damaged or truncated JPEG: " + decoder.errors.message.data());
  };
  const Outcome header = read_header(decoder, data);
  if (header == Outcome::cmyk) {
    throw Error(ErrorCode::unsupported,
                name + ": a CMYK JPEG, which is not supported: convert it to RGB");
  }
  if (header == Outcome::failed) {
    fail();
  }
  check_size(decoder.info.image_height, decoder.info.image_width, name);
  DecodedImage image{
      static_cast<int>(decoder.info.image_height), static_cast<int>(decoder.info.image_width), {}};
  image.pixels.resize(std::size_t{3} * decoder.info.image_height * decoder.info.image_width);
  const int turned = orientation(decoder.info);
  if (read_pixels(decoder, image.pixels.data()) == Outcome::failed) {
    fail();
  }
#ifndef JCS_EXTENSIONS
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    std::swap(image.pixels[i], image.pixels[i + 2]);
  }
#endif
  apply_orientation(image, turned);
  return image;
}

}  // namespace instseg::image_io
