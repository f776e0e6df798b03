// A stage that is run on RoIs.
#pragma once

#include <span>
#include <vector>

#include "backends/session.hpp"
#include "core/buffer.hpp"
#include "core/parallel.hpp"
#include "families/roi_chunks.hpp"
#include "ops/roi_align.hpp"

namespace instseg {

// The RoIs of one image, in network pixels, and the maps that they read.
struct ImageRois {
  std::span<const FeatureLevel> maps;
  std::span<const Box> boxes;
};

// Buffers that the heads of a model share, kept from run to run.
struct RoiScratch {
  FloatBuffer features;
  RoiAlignScratch align;
};

// One head in a context. Used by one thread at a time; must not outlive the session.
class RoiHead {
 public:
  RoiHead(const Session& session, const RoiAlignSpec& spec)
      : spec_(spec), inference_(session.create_context()) {}

  // Takes all RoIs of a batch, counted through from the first image to the last, through the stage.
  // Calls visit(first, count, outputs) for consecutive RoIs, all of them once and in order; the
  // first `count` rows of the stage's outputs, in the manifest's order, are theirs, and valid until
  // visit returns. Without RoIs, nothing is run. Returns the milliseconds in the backend.
  template <class Visit>
  double run(std::span<const ImageRois> images, ThreadPool& pool, RoiScratch& scratch,
             Visit&& visit) {
    std::size_t count = 0;
    for (const ImageRois& image : images) {
      count += image.boxes.size();
    }
    double inference_ms = 0.0;
    if (count == 0) {
      return inference_ms;
    }
    const RoiChunks chunks = plan_roi_chunks(count, roi_floats() * sizeof(float));
    for (std::size_t first = 0; first < count; first += chunks.rois) {
      const std::size_t rois = std::min(chunks.rois, count - first);
      cut_features(images, first, rois, chunks.size, pool, scratch);
      visit(first, rois, infer(chunks.size, scratch, inference_ms));
    }
    return inference_ms;
  }

 private:
  [[nodiscard]] std::size_t roi_floats() const {
    const auto bins = static_cast<std::size_t>(spec_.output_size);
    return static_cast<std::size_t>(spec_.channels) * bins * bins;
  }
  // Writes the features of RoIs [first, first + count), then zeros up to `size` RoIs.
  void cut_features(std::span<const ImageRois> images, std::size_t first, std::size_t count,
                    std::size_t size, ThreadPool& pool, RoiScratch& scratch) const;
  std::span<const TensorView> infer(std::size_t size, RoiScratch& scratch, double& milliseconds);

  RoiAlignSpec spec_;
  SessionContext inference_;
};

}  // namespace instseg
