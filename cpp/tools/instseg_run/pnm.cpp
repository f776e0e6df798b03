// Netpbm: P1 to P6.
#include <algorithm>
#include <cctype>

#include "instseg/error.hpp"
#include "instseg_run/image_io.hpp"

namespace instseg::image_io {
namespace {

class Reader {
 public:
  Reader(Bytes data, const std::string& name) : data_(data), name_(name) {}

  // The next number of the header or of a text raster; white space and comments before it are
  // skipped.
  std::uint32_t number() {
    skip_space();
    std::uint32_t value = 0;
    const std::size_t begin = position_;
    while (position_ < data_.size() && std::isdigit(data_[position_]) != 0) {
      value = value * 10 + (data_[position_++] - std::uint32_t{'0'});
      if (value > 100'000'000) {
        damaged("a number is too large");
      }
    }
    if (position_ == begin) {
      damaged(position_ >= data_.size() ? "the file ends early" : "a number is missing");
    }
    return value;
  }

  // One digit of a P1 raster; they need no space between them.
  std::uint32_t bit() {
    skip_space();
    if (position_ >= data_.size()) damaged("the file ends early");
    const std::uint8_t digit = data_[position_++];
    if (digit != '0' && digit != '1') damaged("a pixel is neither 0 nor 1");
    return digit - std::uint32_t{'0'};
  }

  // The binary raster: after one white space.
  Bytes raster(std::uint64_t bytes) {
    ++position_;
    if (position_ > data_.size() || data_.size() - position_ < bytes) {
      damaged("the file ends early: " + std::to_string(bytes) + " bytes of pixels expected, " +
              std::to_string(data_.size() - std::min(position_, data_.size())) + " found");
    }
    return data_.subspan(position_, static_cast<std::size_t>(bytes));
  }

  [[nodiscard]] std::size_t remaining() const {
    return data_.size() - std::min(position_, data_.size());
  }

  [[noreturn]] void damaged(const std::string& reason) const {
    throw Error(ErrorCode::io, name_ + ": damaged PNM: " + reason);
  }

 private:
  void skip_space() {
    while (position_ < data_.size()) {
      if (data_[position_] == '#') {
        while (position_ < data_.size() && data_[position_] != '\n') ++position_;
      } else if (std::isspace(data_[position_]) != 0) {
        ++position_;
      } else {
        return;
      }
    }
  }

  Bytes data_;
  const std::string& name_;
  std::size_t position_ = 2;
};

std::uint8_t to_byte(std::uint32_t value, std::uint32_t max) {
  return static_cast<std::uint8_t>((std::min(value, max) * 255U + max / 2) / max);
}

}  // namespace

DecodedImage decode_pnm(Bytes data, const std::string& name) {
  Reader reader(data, name);
  const int kind = data[1] - '0';
  const bool text = kind <= 3;
  const bool bitmap = kind == 1 || kind == 4;
  const std::uint32_t samples = kind == 3 || kind == 6 ? 3 : 1;
  const std::uint32_t width = reader.number();
  const std::uint32_t height = reader.number();
  check_size(height, width, name);
  const std::uint32_t max = bitmap ? 1 : reader.number();
  if (max < 1 || max > 65535) {
    reader.damaged("the largest value is " + std::to_string(max) + ", expected 1 to 65535");
  }
  const std::uint64_t pixels = std::uint64_t{width} * height;
  if (text && reader.remaining() < pixels * samples) {
    reader.damaged("the file ends early");
  }

  DecodedImage image{static_cast<int>(height), static_cast<int>(width), {}};
  const std::size_t sample_bytes = max > 255 ? 2 : 1;
  const std::size_t row_bytes =
      kind == 4 ? (width + 7) / 8 : std::size_t{width} * samples * sample_bytes;
  const Bytes raster = text ? Bytes{} : reader.raster(std::uint64_t{row_bytes} * height);
  image.pixels.resize(static_cast<std::size_t>(pixels) * 3);
  std::uint8_t* out = image.pixels.data();
  const auto sample = [&](std::size_t y, std::size_t index) -> std::uint8_t {
    if (kind == 1) return reader.bit() != 0 ? 0 : 255;  // 1 is black
    if (text) return to_byte(reader.number(), max);
    const std::uint8_t* const row = raster.data() + y * row_bytes;
    if (kind == 4) return ((row[index / 8] >> (7 - index % 8)) & 1) != 0 ? 0 : 255;
    if (sample_bytes == 2) {
      // The full range keeps its high byte, as PNG.
      return max == 65535 ? row[2 * index]
                          : to_byte(row[2 * index] * 256U + row[2 * index + 1], max);
    }
    return max == 255 ? row[index] : to_byte(row[index], max);
  };
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x, out += 3) {
      if (samples == 1) {
        out[0] = out[1] = out[2] = sample(y, x);
      } else {
        for (std::size_t channel = 0; channel < 3; ++channel) {
          out[2 - channel] = sample(y, 3 * x + channel);
        }
      }
    }
  }
  return image;
}

}  // namespace instseg::image_io
