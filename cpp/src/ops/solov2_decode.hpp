// Instances from the outputs of a SOLOv2 network: dynamic convolution, matrix NMS, late mask
// decode.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "instseg/mask.hpp"
#include "ops/bilinear.hpp"
#include "ops/mask_logits.hpp"
#include "ops/mask_render.hpp"
#include "ops/matrix_nms.hpp"
#include "ops/matrix_product.hpp"

namespace instseg {

// Pixels of the network input, along each axis, per cell of the mask features.
inline constexpr int kSolov2FeatureStride = 4;
inline constexpr int kMaxSolov2Grid = 1024;
inline constexpr int kMaxSolov2Channels = 1 << 16;

// One grid of one image.
struct Solov2Level {
  std::span<const float> scores;   // grid x grid x classes, after the point NMS
  std::span<const float> kernels;  // grid x grid x channels
  int grid = 0;
  int minimum_area = 0;  // masks with at most as many set cells are left out
};

struct Solov2Spec {
  int classes = 0;
  int channels = 0;              // of the mask features, and of a kernel
  float score_threshold = 0.1F;  // candidates: score > this
  float mask_threshold = 0.5F;   // set: probability > this; in [0, 1]
  MatrixNmsSpec nms;
  float result_threshold = 0.0F;  // instances: final score > this
};

// Where the image is: the top left part of the network input, resized.
struct Solov2Geometry {
  int feature_height = 0;
  int feature_width = 0;
  int resized_height = 0;
  int resized_width = 0;
  int image_height = 0;  // original
  int image_width = 0;
};

struct Solov2Instance {
  int class_id = 0;
  float score = 0.0F;
  Box box;          // tight bounds of the mask, all zero where that is empty
  PackedMask mask;  // its crop is the box
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct Solov2Scratch {
  struct Entry {
    int kernel = 0;  // index into the kernels that have a candidate
    int class_id = 0;
    float score = 0.0F;
  };
  struct KernelCell {
    int level = 0;
    int cell = 0;
  };
  std::vector<KernelCell> cells;  // the kernels that have a candidate
  std::vector<Entry> entries;     // the candidates
  LeftMatrix kernels;
  std::vector<std::uint64_t> bits;  // kernels x words
  std::vector<int> areas;           // by kernel
  std::vector<int> part_areas;      // column blocks x kernels
  std::vector<double> part_sums;    // of the probabilities of set cells
  std::vector<double> sums;         // by kernel
  std::vector<int> masks, entry_areas, class_ids;
  std::vector<float> scores;
  std::vector<int> kept_kernels;  // each once
  std::vector<int> slots;         // of a kept kernel among them
  struct Window {
    AxisWindow x, y;  // what is rendered, and the cells that it reads
  };
  std::vector<Window> windows;          // by kept kernel
  std::vector<ProductWindow> products;  // their cells
  std::vector<float> logits;            // of these
  std::vector<PackedMask> rendered;
  AxisTaps x;
  AxisTaps y;
  MatrixNmsScratch nms;
};

// features: channels x feature_height x feature_width.
//
// Candidates are all (grid cell, class) with a score above the threshold, by level, row, column,
// class. The mask of a cell is sigmoid(kernel . features) > mask_threshold at feature resolution. A
// candidate whose mask has at most `minimum_area` set cells is left out; the others' scores are
// multiplied by the mean probability of the set cells. Then matrix NMS (matrix_nms.hpp), which
// gives the order. The final mask: the probabilities, bilinear to 4 times the size (pixel centres
// at +0.5, edges clamped), cut to the resized image, bilinear to the original image; >
// mask_threshold. Only pixels that a set cell reaches are evaluated.
//
// These are the reference's semantics with two exceptions: it ends its list with a made-up instance
// of score 0, which is left out; and it takes the original width from the resized one and the
// factor along y, so that its masks can be a pixel or two wider or narrower than the image.
// A cell whose logit is NaN counts as unset, a NaN score as none.
// Throws Error(invalid_argument) for sizes that do not fit, a resized image larger than the network
// input, and thresholds that are NaN or, for masks, outside [0, 1].
std::vector<Solov2Instance> decode_solov2(std::span<const Solov2Level> levels,
                                          std::span<const float> features,
                                          const Solov2Geometry& geometry, const Solov2Spec& spec,
                                          ThreadPool& pool, Solov2Scratch& scratch);

}  // namespace instseg
