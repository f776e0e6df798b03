#include "instseg/image.hpp"

#include <string>

#include "instseg/error.hpp"

namespace instseg {

int channels(PixelFormat format) {
  switch (format) {
    case PixelFormat::bgr8:
    case PixelFormat::rgb8:
      return 3;
    case PixelFormat::gray8:
      return 1;
    case PixelFormat::bgra8:
    case PixelFormat::rgba8:
      return 4;
  }
  throw Error(ErrorCode::invalid_argument, "pixel format " +
                                               std::to_string(static_cast<int>(format)) +
                                               " is none of PixelFormat's values");
}

}  // namespace instseg
