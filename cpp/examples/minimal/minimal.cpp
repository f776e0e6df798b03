// The smallest program: one image from memory through a bundle.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "instseg/predictor.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: minimal BUNDLE\n", stderr);
    return 2;
  }

  // A black image with a red rectangle, three bytes per pixel: blue, green, red.
  constexpr int kHeight = 480;
  constexpr int kWidth = 640;
  std::vector<std::uint8_t> pixels(3 * kHeight * kWidth);
  for (int y = 120; y < 240; ++y) {
    for (int x = 160; x < 320; ++x) {
      pixels[static_cast<std::size_t>(3 * (y * kWidth + x) + 2)] = 255;
    }
  }
  const instseg::ImageView image{pixels.data(), kHeight, kWidth, 3 * kWidth,
                                 instseg::PixelFormat::bgr8};

  try {
    const instseg::Predictor predictor{argv[1], {.threshold = 0.5F}};
    const instseg::Result result = predictor(image);
    for (const instseg::Instance& found : result.instances) {
      const auto label = static_cast<std::size_t>(found.class_id);
      std::printf("%s %.2f, %lld pixels in [%.0f, %.0f, %.0f, %.0f]\n",
                  predictor.bundle().labels[label].c_str(), static_cast<double>(found.score),
                  static_cast<long long>(found.mask.area()), static_cast<double>(found.box.x1),
                  static_cast<double>(found.box.y1), static_cast<double>(found.box.x2),
                  static_cast<double>(found.box.y2));
    }
    return 0;
  } catch (const instseg::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
