// Instances from the queries of a detection transformer with masks: selection, boxes, late mask
// decode.
#pragma once

#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "instseg/mask.hpp"
#include "ops/bilinear.hpp"
#include "ops/mask_render.hpp"
#include "ops/matrix_product.hpp"

namespace instseg {

// The outputs for one image. Box is centre x, centre y, width, height, in parts of the image.
struct QueryOutputs {
  std::span<const float> logits;      // queries x classes
  std::span<const float> boxes;       // queries x 4
  std::span<const float> embeddings;  // queries x channels
  std::span<const float> features;    // channels x height x width
  int queries = 0;
  int classes = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
};

struct QuerySpec {
  int top_k = 100;               // best (query, class) pairs; negative: all
  float mask_threshold = 0.5F;   // set: probability > this; in [0, 1]
  float score_threshold = 0.0F;  // instances: score > this
};

struct QueryInstance {
  int class_id = 0;
  int query = 0;
  float score = 0.0F;
  Box box;          // pixels of the original image, not clipped
  PackedMask mask;  // the crop is the tight bounds
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct QueryScratch {
  struct Ranked {
    float logit = 0.0F;
    int index = 0;  // query * classes + class
  };
  std::vector<Ranked> ranked;
  std::vector<int> queries;  // those with an instance, each once
  std::vector<int> slots;    // of a query among them
  LeftMatrix embeddings;
  std::vector<float> logits;  // queries with an instance x cells
  std::vector<PackedMask> rendered;
  AxisTaps x;
  AxisTaps y;
};

// The top_k pairs of query and class with the largest logits, by falling logit, equal logits by
// rising query, then class (the reference leaves their order open); of these, the ones with
// sigmoid(logit) > score_threshold. A query may give several instances, which share box and mask.
//
// The mask is: embedding . features at feature resolution; these logits bilinear to the original
// image in one step (pixel centres at +0.5, edges clamped); sigmoid > mask_threshold. Only chosen
// queries, and pixels that a cell above the threshold reaches, are evaluated. Logits that are NaN
// are never chosen, and cells that are NaN are unset; cells are bounded by -1e30 and 1e30.
// Throws Error(invalid_argument) for sizes that are not positive, above the limits of image.hpp or
// that do not fit the spans, and thresholds that are NaN or, for masks, outside [0, 1].
std::vector<QueryInstance> decode_queries(const QueryOutputs& outputs, int image_height,
                                          int image_width, const QuerySpec& spec, ThreadPool& pool,
                                          QueryScratch& scratch);

}  // namespace instseg
