#include "instseg/mask.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "instseg/error.hpp"
#include "instseg/image.hpp"
#include "ops/bit_matrix.hpp"
#include "ops/mask_check.hpp"

namespace instseg {
namespace {

// Byte k of entry b is bit k of b.
constexpr auto kBytesOfBits = [] {
  std::array<std::array<std::uint8_t, 8>, 256> table{};
  for (unsigned bits = 0; bits < 256; ++bits) {
    for (unsigned k = 0; k < 8; ++k) {
      table[bits][k] = static_cast<std::uint8_t>((bits >> k) & 1U);
    }
  }
  return table;
}();

void unpack_row(const std::uint32_t* words, int width, std::uint8_t* out) {
  int x = 0;
  for (; x + 32 <= width; x += 32, ++words) {
    for (unsigned byte = 0; byte < 4; ++byte) {
      std::memcpy(out + x + byte * 8, kBytesOfBits[(*words >> (byte * 8)) & 0xFFU].data(), 8);
    }
  }
  for (; x < width; ++x) {
    out[x] = static_cast<std::uint8_t>((*words >> (x & 31)) & 1U);
  }
}

}  // namespace

void check_mask_image(int image_height, int image_width, const char* where) {
  if (image_height < 0 || image_width < 0 || image_height > kMaxImageSide ||
      image_width > kMaxImageSide || std::int64_t{image_height} * image_width > kMaxImagePixels) {
    throw Error(ErrorCode::invalid_argument,
                std::string(where) + ": an image of " + std::to_string(image_width) + " x " +
                    std::to_string(image_height) + " pixels, expected sides of 0 to " +
                    std::to_string(kMaxImageSide) + " and at most " +
                    std::to_string(kMaxImagePixels) + " pixels");
  }
}

void check_mask_in_image(const PackedMask& mask, int image_height, int image_width,
                         const char* where) {
  check_mask_image(image_height, image_width, where);
  if (mask.x() + mask.width() > image_width || mask.y() + mask.height() > image_height) {
    throw Error(ErrorCode::invalid_argument,
                std::string(where) + ": the mask's crop of " + std::to_string(mask.width()) +
                    " x " + std::to_string(mask.height()) + " at (" + std::to_string(mask.x()) +
                    ", " + std::to_string(mask.y()) + ") is not inside the image of " +
                    std::to_string(image_width) + " x " + std::to_string(image_height) +
                    "; pass the size of the image that the mask was made for");
  }
}

void check_size(const char* where, const char* what, int width, int height) {
  if (width <= 0 || height <= 0 || width > kMaxImageSide || height > kMaxImageSide ||
      std::int64_t{width} * height > kMaxImagePixels) {
    throw Error(ErrorCode::invalid_argument,
                std::string(where) + ": " + what + " is " + std::to_string(width) + " x " +
                    std::to_string(height) + ", expected sides of 1 to " +
                    std::to_string(kMaxImageSide) + " and at most " +
                    std::to_string(kMaxImagePixels) + " pixels");
  }
}

PackedMask::PackedMask(int x, int y, int width, int height, std::vector<std::uint32_t> words)
    : x_(x), y_(y), width_(width), height_(height), words_(std::move(words)) {
  const auto in_range = [](int value) { return value >= 0 && value <= kMaxImageSide; };
  if (!in_range(x) || !in_range(y) || !in_range(width) || !in_range(height) ||
      std::int64_t{width} * height > kMaxImagePixels) {
    throw Error(ErrorCode::invalid_argument,
                "packed mask: a crop of " + std::to_string(width) + " x " + std::to_string(height) +
                    " at (" + std::to_string(x) + ", " + std::to_string(y) +
                    "), expected values of 0 to " + std::to_string(kMaxImageSide) +
                    " and at most " + std::to_string(kMaxImagePixels) + " pixels");
  }
  const std::size_t expected =
      static_cast<std::size_t>(words_per_row()) * static_cast<std::size_t>(height);
  if (words_.size() != expected) {
    throw Error(ErrorCode::invalid_argument,
                "packed mask: " + std::to_string(words_.size()) + " words for a crop of " +
                    std::to_string(width) + " x " + std::to_string(height) + ", expected " +
                    std::to_string(expected) + " (rows padded to whole words)");
  }
  if (width % 32 != 0) {
    const std::uint32_t padding = ~low_bits(width % 32);
    const auto row_words = static_cast<std::size_t>(words_per_row());
    for (std::size_t last = row_words - 1; last < words_.size(); last += row_words) {
      if ((words_[last] & padding) != 0) {
        throw Error(ErrorCode::invalid_argument,
                    "packed mask: row " + std::to_string(last / row_words) +
                        " has bits set behind its " + std::to_string(width) +
                        " pixels, expected zeros there");
      }
    }
  }
}

bool PackedMask::test(int image_x, int image_y) const noexcept {
  const std::int64_t column = std::int64_t{image_x} - x_;
  const std::int64_t row = std::int64_t{image_y} - y_;
  if (column < 0 || row < 0 || column >= width_ || row >= height_) {
    return false;
  }
  const std::int64_t word = row * words_per_row() + (column >> 5);
  return ((words_[static_cast<std::size_t>(word)] >> (column & 31)) & 1U) != 0;
}

std::int64_t PackedMask::area() const noexcept {
  std::int64_t sum = 0;
  for (const std::uint32_t word : words_) {
    sum += std::popcount(word);
  }
  return sum;
}

bool PackedMask::empty() const noexcept {
  return std::ranges::all_of(words_, [](std::uint32_t word) { return word == 0; });
}

Box PackedMask::bounds() const noexcept {
  const int row_words = words_per_row();
  int left = width_;
  int right = 0;
  int top = height_;
  int bottom = 0;
  const std::uint32_t* row = words_.data();
  for (int y = 0; y < height_; ++y, row += row_words) {
    int first = 0;
    while (first < row_words && row[first] == 0) {
      ++first;
    }
    if (first == row_words) {
      continue;
    }
    int last = row_words - 1;
    while (row[last] == 0) {
      --last;
    }
    left = std::min(left, first * 32 + std::countr_zero(row[first]));
    right = std::max(right, last * 32 + 32 - std::countl_zero(row[last]));
    top = std::min(top, y);
    bottom = y + 1;
  }
  if (bottom == 0) {
    return {};
  }
  return {static_cast<float>(x_ + left), static_cast<float>(y_ + top),
          static_cast<float>(x_ + right), static_cast<float>(y_ + bottom)};
}

void PackedMask::unpack(std::span<std::uint8_t> out, int image_height, int image_width) const {
  check_mask_in_image(*this, image_height, image_width, "unpack");
  const std::size_t pixels =
      static_cast<std::size_t>(image_height) * static_cast<std::size_t>(image_width);
  if (out.size() != pixels) {
    throw Error(ErrorCode::invalid_argument, "unpack: an output of " + std::to_string(out.size()) +
                                                 " bytes, expected " + std::to_string(pixels) +
                                                 " for an image of " + std::to_string(image_width) +
                                                 " x " + std::to_string(image_height));
  }
  std::ranges::fill(out, std::uint8_t{0});
  for (int row = 0; row < height_; ++row) {
    unpack_row(words_.data() + std::ptrdiff_t{row} * words_per_row(), width_,
               out.data() + std::ptrdiff_t{y_ + row} * image_width + x_);
  }
}

}  // namespace instseg
