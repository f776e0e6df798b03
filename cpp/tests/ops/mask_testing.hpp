// Masks for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "instseg/error.hpp"
#include "instseg/mask.hpp"

namespace instseg::testing_masks {

// The crop of the mask, in image coordinates.
struct Crop {
  int x, y, width, height;
};

// Packs bit by bit: pixel (x, y) of the image is set where `inside` says so.
inline PackedMask pack(const Crop& crop, const std::function<bool(int, int)>& inside) {
  const int row_words = (crop.width + 31) / 32;
  std::vector<std::uint32_t> words(static_cast<std::size_t>(row_words * crop.height));
  for (int y = 0; y < crop.height; ++y) {
    for (int x = 0; x < crop.width; ++x) {
      if (inside(crop.x + x, crop.y + y)) {
        words[static_cast<std::size_t>(y * row_words + x / 32)] |= std::uint32_t{1} << (x % 32);
      }
    }
  }
  return PackedMask(crop.x, crop.y, crop.width, crop.height, words);
}

// Noise with the given share of set pixels, or (share 0) some rectangles.
inline PackedMask random_mask(std::mt19937& random, const Crop& crop, double share) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(crop.width * crop.height));
  if (share > 0) {
    std::bernoulli_distribution set(share);
    for (auto& pixel : pixels) {
      pixel = set(random) ? 1 : 0;
    }
  } else {
    for (int rectangle = 0; rectangle < 6; ++rectangle) {
      const auto pick = [&](int end) { return std::uniform_int_distribution<int>(0, end)(random); };
      const int left = pick(crop.width), right = pick(crop.width);
      const int top = pick(crop.height), bottom = pick(crop.height);
      for (int y = top; y < bottom; ++y) {
        for (int x = left; x < right; ++x) {
          pixels[static_cast<std::size_t>(y * crop.width + x)] ^= 1;
        }
      }
    }
  }
  return pack(crop, [&](int x, int y) {
    return pixels[static_cast<std::size_t>((y - crop.y) * crop.width + x - crop.x)] != 0;
  });
}

// Code and text of the Error that `call` throws; fails where it throws none.
inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code() == ErrorCode::invalid_argument ? error.what() : "another code";
  }
  return "no error";
}

// Is the part in the text? For EXPECT_TRUE, which then shows the text.
inline ::testing::AssertionResult has(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos ? ::testing::AssertionSuccess()
                                              : ::testing::AssertionFailure() << text;
}

}  // namespace instseg::testing_masks
