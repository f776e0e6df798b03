// The masks of a batch that stay on the GPU, and the results that have them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cuda/op_arguments.h"
#include "device/result_memory.hpp"
#include "instseg/gpu_result.hpp"

namespace instseg {

struct KeptMasks {
  // A mask's crop, and its first word.
  struct Place {
    int x, y, width, height;
    std::int64_t first_word;
  };
  struct Image {
    instseg_cuda_masks masks;  // on the GPU; from the image's first on
    std::vector<Place> places;
  };

  std::shared_ptr<ResultMemory> home;
  std::shared_ptr<ResultPiece> piece;
  std::vector<Image> images;
};

struct GpuResult::Data {
  int image_height = 0;
  int image_width = 0;
  std::vector<GpuInstance> instances;
  Timings timings;
  instseg_cuda_masks masks{};  // on the GPU
  std::shared_ptr<ResultMemory> home;
  std::shared_ptr<ResultPiece> piece;
};

// One per image; results: without masks.
std::vector<GpuResult> make_gpu_results(const KeptMasks& kept, std::span<const Result> results);

}  // namespace instseg
