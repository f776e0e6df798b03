#include "instseg_run/image_io.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "instseg/error.hpp"

namespace instseg::image_io {
namespace {

constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{1} << 30U;

std::vector<std::uint8_t> read_file(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    throw Error(ErrorCode::io, "cannot read " + file.string() + ": it is a directory");
  }
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) {
    throw Error(ErrorCode::io, "cannot read " + file.string() + ": " + error.message());
  }
  if (size > kMaxFileBytes) {
    throw Error(ErrorCode::unsupported, file.string() + " has " + std::to_string(size) +
                                            " bytes, at most " + std::to_string(kMaxFileBytes) +
                                            " are accepted");
  }
  std::vector<std::uint8_t> data(static_cast<std::size_t>(size));
  std::ifstream stream(file, std::ios::binary);
  stream.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()));
  if (!stream) {
    throw Error(ErrorCode::io, "cannot read " + file.string() + ": " + std::strerror(errno));
  }
  return data;
}

bool starts_with(Bytes data, std::string_view magic) {
  return data.size() >= magic.size() && std::memcmp(data.data(), magic.data(), magic.size()) == 0;
}

#if !defined(INSTSEG_WITH_JPEG) || !defined(INSTSEG_WITH_PNG)
[[noreturn]] void not_built(const std::string& name, const std::string& format) {
  throw Error(ErrorCode::unsupported, name + ": built without " + format + " support: install lib" +
                                          (format == "PNG" ? "png" : "jpeg") +
                                          " for development and build again");
}
#endif

}  // namespace

DecodedImage read_image(const std::filesystem::path& file) {
  const std::vector<std::uint8_t> data = read_file(file);
  const std::string name = file.string();
  if (data.empty()) {
    throw Error(ErrorCode::io, name + ": the file is empty");
  }
  if (starts_with(data, "\xFF\xD8\xFF")) {
#ifdef INSTSEG_WITH_JPEG
    return decode_jpeg(data, name);
#else
    not_built(name, "JPEG");
#endif
  }
  if (starts_with(data, "\x89PNG\r\n\x1A\n")) {
#ifdef INSTSEG_WITH_PNG
    return decode_png(data, name);
#else
    not_built(name, "PNG");
#endif
  }
  if (data.size() > 2 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6') {
    return decode_pnm(data, name);
  }
  throw Error(ErrorCode::unsupported,
              name + ": no image format that is known here (JPEG, PNG, PNM)");
}

void check_size(std::uint64_t height, std::uint64_t width, const std::string& name) {
  const bool sides = height >= 1 && width >= 1 && height <= kMaxImageSide && width <= kMaxImageSide;
  if (!sides || height * width > static_cast<std::uint64_t>(kMaxImagePixels)) {
    throw Error(ErrorCode::unsupported,
                name + ": " + std::to_string(width) + " x " + std::to_string(height) +
                    " pixels, expected 1 to " + std::to_string(kMaxImageSide) +
                    " per side and at most " + std::to_string(kMaxImagePixels));
  }
}

void apply_orientation(DecodedImage& image, int orientation) {
  if (orientation <= 1 || orientation > 8) {
    return;
  }
  const bool transposed = orientation >= 5;
  const bool mirrored_x =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirrored_y =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  // (x, y) of the result shows the stored pixel that it was made from; for 5 to 8 rows and columns
  // change places.
  DecodedImage turned;
  turned.height = transposed ? image.width : image.height;
  turned.width = transposed ? image.height : image.width;
  turned.pixels.resize(image.pixels.size());
  std::uint8_t* out = turned.pixels.data();
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x) {
      int source_x = transposed ? y : x;
      int source_y = transposed ? x : y;
      source_x = mirrored_x ? image.width - 1 - source_x : source_x;
      source_y = mirrored_y ? image.height - 1 - source_y : source_y;
      const std::size_t offset =
          3 * (static_cast<std::size_t>(source_y) * static_cast<std::size_t>(image.width) +
               static_cast<std::size_t>(source_x));
      out = std::copy_n(image.pixels.data() + offset, 3, out);
    }
  }
  image = std::move(turned);
}

}  // namespace instseg::image_io
