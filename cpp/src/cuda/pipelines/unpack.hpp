// Masks as bytes.
#pragma once

#include "cuda/execution/call.hpp"
#include "cuda/kernels/unpack.hpp"
#include "cuda/pipelines/checks.hpp"

namespace instseg::cuda {

struct UnpackMasksOp {
  static constexpr const char* kName = "unpack masks";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_unpack_masks& arguments,
                  Workspace& workspace) {
    check_at_least(kName, "the number of masks", arguments.count, 0);
    check_pixels(kName, "the image", arguments.height, arguments.width);
    if (!workspace.ready(kName) || arguments.count == 0) {
      return;
    }
    const int pixels = arguments.height * arguments.width;
    // One chunk more: an image may begin in the middle of one.
    const std::int64_t chunks = ceil_div(pixels, PixelChunk::kPixels) + 1;
    executor.launch("unpack masks", {ceil_div(chunks, UnpackBody::kThreads), arguments.count},
                    UnpackBody{arguments.masks, arguments.width, pixels, arguments.out});
  }
};

template <class Executor>
void add_unpack_masks(instseg_cuda_ops& ops) {
  ops.unpack_masks = call<Executor, UnpackMasksOp, instseg_cuda_unpack_masks>;
}

}  // namespace instseg::cuda
