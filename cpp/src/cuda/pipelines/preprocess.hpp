// The op `preprocess`: checks, and one launch per group of images.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "cuda/execution/call.hpp"
#include "cuda/kernels/preprocess.hpp"
#include "instseg/image.hpp"

namespace instseg::cuda {

struct PreprocessOp {
  static constexpr const char* kName = "preprocess";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_preprocess& arguments,
                  Workspace& workspace) {
    check(arguments);
    if (!workspace.ready(kName)) {
      return;
    }
    if (arguments.out_type == INSTSEG_FLOAT16) {
      run_typed<Half>(executor, arguments);
    } else {
      run_typed<float>(executor, arguments);
    }
  }

 private:
  static void check_side(const char* what, int height, int width) {
    if (height < 1 || width < 1 || height > kMaxImageSide || width > kMaxImageSide ||
        std::int64_t{height} * width > kMaxImagePixels) {
      fail(kName, std::string(what) + " is " + std::to_string(width) + " x " +
                      std::to_string(height) + " pixels, expected sides of 1 to " +
                      std::to_string(kMaxImageSide));
    }
  }

  static void check_image(const instseg_cuda_preprocess& arguments,
                          const instseg_cuda_image& image) {
    check_side("the image", image.height, image.width);
    check_side("the resized image", image.resized_height, image.resized_width);
    if (image.format < INSTSEG_CUDA_BGR8 || image.format > INSTSEG_CUDA_RGBA8) {
      fail(kName, "pixel format " + std::to_string(image.format) + " is not known");
    }
    if (image.pixels == nullptr ||
        image.stride < std::int64_t{image.width} * pixel_bytes(image.format)) {
      fail(kName, "an image without pixels, or with a stride of " + std::to_string(image.stride) +
                      " bytes for " + std::to_string(image.width) + " pixels");
    }
    if (image.resized_height > arguments.height || image.resized_width > arguments.width) {
      fail(kName, "a resized image of " + std::to_string(image.resized_width) + " x " +
                      std::to_string(image.resized_height) +
                      " pixels does not fit into the network input of " +
                      std::to_string(arguments.width) + " x " + std::to_string(arguments.height));
    }
  }

  static void check(const instseg_cuda_preprocess& arguments) {
    check_side("the network input", arguments.height, arguments.width);
    if (arguments.count < 0 || (arguments.count > 0 && arguments.images == nullptr)) {
      fail(kName, std::to_string(arguments.count) + " images, expected 0 or more");
    }
    if (arguments.out_type != INSTSEG_FLOAT32 && arguments.out_type != INSTSEG_FLOAT16) {
      fail(kName, "an output of type " + std::to_string(arguments.out_type) +
                      ", expected float32 or float16");
    }
    for (int channel = 0; channel < 3; ++channel) {
      if (!std::isfinite(arguments.scale) || !std::isfinite(arguments.mean[channel]) ||
          !std::isfinite(arguments.std[channel]) || arguments.std[channel] == 0.0F) {
        fail(kName, "scale, mean or std is not finite, or a std is 0");
      }
    }
    for (int i = 0; i < arguments.count; ++i) {
      check_image(arguments, arguments.images[i]);
    }
  }

  static int pixel_bytes(int format) {
    return format == INSTSEG_CUDA_GRAY8 ? 1 : format >= INSTSEG_CUDA_BGRA8 ? 4 : 3;
  }

  static SourceImage source(const instseg_cuda_image& image, bool rgb) {
    SourceImage source{image.pixels,
                       image.stride,
                       image.height,
                       image.width,
                       image.resized_height,
                       image.resized_width,
                       pixel_bytes(image.format),
                       {}};
    const bool image_is_rgb =
        image.format == INSTSEG_CUDA_RGB8 || image.format == INSTSEG_CUDA_RGBA8;
    for (int channel = 0; channel < 3; ++channel) {
      source.channel[channel] = source.pixel_bytes == 1 ? 0
                                : image_is_rgb == rgb   ? channel
                                                        : 2 - channel;
    }
    return source;
  }

  template <class Out, class Executor>
  static void run_typed(Executor& executor, const instseg_cuda_preprocess& arguments) {
    switch (arguments.resize) {
      case INSTSEG_CUDA_FIXED_LINEAR:
        return launch<Sampling::fixed_linear, Out>(executor, arguments);
      case INSTSEG_CUDA_LINEAR:
        return launch<Sampling::linear, Out>(executor, arguments);
      case INSTSEG_CUDA_CUBIC:
        return launch<Sampling::cubic, Out>(executor, arguments);
      default:
        fail(kName, "resize " + std::to_string(arguments.resize) + " is not known");
    }
  }

  template <Sampling sampling, class Out, class Executor>
  static void launch(Executor& executor, const instseg_cuda_preprocess& arguments) {
    using Body = PreprocessBody<sampling, Out>;
    Body body{};
    body.height = arguments.height;
    body.width = arguments.width;
    for (int channel = 0; channel < 3; ++channel) {
      body.normalization[channel] = {arguments.scale / arguments.std[channel],
                                     -arguments.mean[channel] / arguments.std[channel]};
    }
    for (int first = 0; first < arguments.count; first += Body::kMaxImages) {
      const int count = std::min(Body::kMaxImages, arguments.count - first);
      for (int i = 0; i < count; ++i) {
        body.images[i] = source(arguments.images[first + i], arguments.rgb != 0);
      }
      body.out = static_cast<Out*>(arguments.out) +
                 std::int64_t{first} * 3 * arguments.height * arguments.width;
      executor.launch("preprocess",
                      {ceil_div(arguments.width, Body::kTileWidth),
                       ceil_div(arguments.height, Body::kTileHeight), count},
                      body);
    }
  }
};

template <class Executor>
void add_preprocess(instseg_cuda_ops& ops) {
  ops.preprocess = call<Executor, PreprocessOp, instseg_cuda_preprocess>;
}

}  // namespace instseg::cuda
