// RoIAlign: features of boxes, averaged over a regular grid of bilinear samples.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "instseg/mask.hpp"
#include "maths/roi_axis.hpp"

namespace instseg {

// One map of a feature pyramid, of one image.
struct FeatureLevel {
  std::span<const float> features;  // channels x height x width
  int height = 0;
  int width = 0;
  float stride = 0.0F;  // network input pixels per cell
};

inline constexpr int kMaxRoiBins = 64;  // along each side

struct RoiAlignSpec {
  int channels = 0;
  int output_size = 7;     // bins along each side
  int sampling_ratio = 0;  // samples per bin and axis; 0: as many as a bin has cells, rounded up
  bool aligned = false;    // half a cell is taken off the corners, and small RoIs are not widened
  // Which level a RoI reads, where there are more than one: the level with number
  // floor(canonical_level + log2(sqrt(area) / canonical_size)), bounded. The first level has number
  // first_level, the next ones count up.
  int first_level = 2;
  int canonical_level = 4;
  float canonical_size = 224.0F;
};

// A RoI and the place on the maps where it begins.
struct RoiPlace {
  int level = 0;
  int row = 0;  // network pixel
  int roi = 0;
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct RoiAlignScratch {
  using Bin = RoiBin;  // of one axis
  struct Roi {
    int first_column = 0;  // of all its bins
    int columns = 0;       // 0: it reads nothing
  };
  std::vector<RoiPlace> order;  // in which RoIs are pooled
  std::vector<Roi> rois;        // in that order, as all that follows
  std::vector<Bin> bins;        // for each RoI output_size along y, then as many along x
  std::vector<std::vector<float>> weights;  // by chunk of RoIs
};

// The index into a pyramid of `levels` maps of the one that a RoI reads. A box without area, or
// with a NaN, reads the first one.
int roi_level(const Box& roi, int levels, const RoiAlignSpec& spec);

// All RoIs, so that those that read the same rows of a map follow each other: what one has read is
// in the cache for the next. Of many RoIs that are pooled in several calls, each call should get a
// part of this order.
void order_rois(std::span<const Box> rois, int levels, const RoiAlignSpec& spec,
                std::vector<RoiPlace>& order);

// rois: pixels of the network input. Writes rois x channels x output_size x output_size to `out`.
//
// A RoI's corners are divided by the level's stride (and 0.5 taken off, if aligned); if not
// aligned, its sides count as at least one cell. Each bin is the mean of its samples, which lie at
// the centres of a regular grid. A sample at (x, y), cell centres at whole numbers, is bilinear,
// with coordinates clamped to the map; one with x < -1, y < -1, x > width or y > height is zero.
//
// These are the semantics of Paddle's roi_align and distribute_fpn_proposals (pixel_offset False).
// A RoI with a corner that is NaN or further than 2^24 cells gives zeros, and so does one that is
// inverted or has no area where aligned. The result does not depend on the pool.
// Throws Error(invalid_argument) for sizes that do not fit, a stride that is not positive, more
// than 64 bins a side or 64 samples, and where there is no level.
void roi_align(std::span<const FeatureLevel> levels, std::span<const Box> rois,
               const RoiAlignSpec& spec, ThreadPool& pool, RoiAlignScratch& scratch,
               std::span<float> out);

}  // namespace instseg
