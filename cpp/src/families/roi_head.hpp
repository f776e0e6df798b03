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
  std::vector<std::size_t> order;  // of a batch's RoIs, counted through
  std::vector<RoiPlace> places;
  std::vector<Box> boxes;  // of one image, in one run
  FloatBuffer features;
  RoiAlignScratch align;
};

// One head in a context. Used by one thread at a time; must not outlive the session.
class RoiHead {
 public:
  RoiHead(const Session& session, const RoiAlignSpec& spec)
      : spec_(spec), inference_(session.create_context()) {}

  // Takes all RoIs of a batch, counted through from the first image to the last, through the stage.
  // Calls visit(rois, outputs) for some of them, in an order that suits the memory, until each was
  // there once: row i of the stage's outputs, which are in the manifest's order, belongs to RoI
  // rois[i], and is valid until visit returns. Without RoIs, nothing is run. Returns the
  // milliseconds in the backend.
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
    order(images, scratch);
    const RoiChunks chunks = plan_roi_chunks(count, roi_floats() * sizeof(float));
    for (std::size_t first = 0; first < count; first += chunks.rois) {
      const std::size_t rois = std::min(chunks.rois, count - first);
      const auto part = std::span<const std::size_t>(scratch.order).subspan(first, rois);
      cut_features(images, part, chunks.size, pool, scratch);
      visit(part, infer(chunks.size, scratch, inference_ms));
    }
    return inference_ms;
  }

 private:
  [[nodiscard]] std::size_t roi_floats() const {
    const auto bins = static_cast<std::size_t>(spec_.output_size);
    return static_cast<std::size_t>(spec_.channels) * bins * bins;
  }
  // Image by image, as order_rois says.
  void order(std::span<const ImageRois> images, RoiScratch& scratch) const;
  // Writes the features of these RoIs, then zeros up to `size` RoIs.
  void cut_features(std::span<const ImageRois> images, std::span<const std::size_t> rois,
                    std::size_t size, ThreadPool& pool, RoiScratch& scratch) const;
  std::span<const TensorView> infer(std::size_t size, RoiScratch& scratch, double& milliseconds);

  RoiAlignSpec spec_;
  SessionContext inference_;
};

}  // namespace instseg
