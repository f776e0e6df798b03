// The stage that takes the images of a batch: of most families the only one.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "core/stopwatch.hpp"
#include "families/family.hpp"

namespace instseg {

// The stage with its outputs in the order of `names`, which holds all of them. That is the order
// in which a session of it returns them.
StageSpec with_output_order(StageSpec stage, std::span<const std::string_view> names);

// What a family has in a context for such a stage; more in what it derives.
class ImageStageContext : public FamilyContext {
 public:
  explicit ImageStageContext(const Session& session) : inference_(session.create_context()) {}

  std::span<float> input(int batch, PixelSize size) final;

  // Runs the stage on the whole input.
  void run() { outputs_ = inference_.run(std::array{TensorView{input_.data(), input_shape_}}); }

  [[nodiscard]] PixelSize input_size() const {
    return {static_cast<int>(input_shape_[2]), static_cast<int>(input_shape_[3])};
  }
  // Of the last run: the part of an output that belongs to one image, and the size of one of its
  // axes. Valid until the next run.
  [[nodiscard]] std::span<const float> output(std::size_t index, std::size_t image) const;
  [[nodiscard]] int output_size(std::size_t index, std::size_t axis) const {
    return static_cast<int>(outputs_[index].shape[axis]);
  }

 private:
  SessionContext inference_;
  std::array<std::int64_t, 4> input_shape_{};
  FloatBuffer input_;
  std::span<const TensorView> outputs_;  // the backend's memory
};

void set_times(std::span<Result> results, double inference_ms, double postprocess_ms);

// body(i) for each i in [0, count), on any thread of the pool.
template <class Body>
void for_each_index(std::size_t count, ThreadPool& pool, Body&& body) {
  pool.parallel_for(0, static_cast<std::int64_t>(count), 1,
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t i = begin; i < end; ++i) {
                        body(static_cast<std::size_t>(i));
                      }
                    });
}

// All that a family with one stage does: runs it, then decode(i) for each image, on any thread of
// the pool, and writes the times of both.
template <class Decode>
void run_and_decode(ImageStageContext& context, ThreadPool& pool, std::span<Result> results,
                    Decode&& decode) {
  const Stopwatch inference;
  context.run();
  const double inference_ms = inference.milliseconds();
  const Stopwatch postprocess;
  for_each_index(results.size(), pool, decode);
  set_times(results, inference_ms, postprocess.milliseconds());
}

}  // namespace instseg
