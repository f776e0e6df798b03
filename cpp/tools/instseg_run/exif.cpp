#include "instseg_run/image_io.hpp"

namespace instseg::image_io {
namespace {

// Numbers of a TIFF block, in its byte order; reads outside give 0.
class TiffReader {
 public:
  explicit TiffReader(Bytes data)
      : data_(data), little_endian_(data.size() > 1 && data[0] == 'I' && data[1] == 'I') {}

  [[nodiscard]] std::uint32_t read(std::size_t offset, std::size_t size) const {
    if (offset > data_.size() || data_.size() - offset < size) {
      return 0;
    }
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value = (value << 8U) | data_[offset + (little_endian_ ? size - 1 - i : i)];
    }
    return value;
  }

 private:
  Bytes data_;
  bool little_endian_;
};

}  // namespace

int exif_orientation(Bytes tiff) {
  constexpr std::uint32_t kOrientation = 0x0112;
  constexpr std::uint32_t kShort = 3;
  constexpr std::size_t kEntryBytes = 12;
  const TiffReader reader(tiff);
  if (reader.read(2, 2) != 42) {
    return 1;
  }
  const std::size_t directory = reader.read(4, 4);
  const std::uint32_t entries = reader.read(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (reader.read(entry, 2) == kOrientation && reader.read(entry + 2, 2) == kShort) {
      const std::uint32_t value = reader.read(entry + 8, 2);
      return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
  }
  return 1;
}

}  // namespace instseg::image_io
