// A stage that is run from an engine, and the running inferences on it. plugin.cpp puts the C
// interface over it.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "backends/plugin_api.h"
#include "backends/tensorrt/shaped_execution.hpp"

namespace instseg::tensorrt_backend {

struct Counters {
  std::atomic<std::uint64_t> runs{0};
  std::atomic<std::uint64_t> graph_captures{0};
  std::atomic<std::uint64_t> graph_replays{0};
  std::atomic<std::uint64_t> graph_refusals{0};
  GpuMemory::Counter device_bytes{0};
  GpuMemory::Counter pinned_bytes{0};
};

// Safe to use from many threads.
class TensorRtSession {
 public:
  // leading_batch: as in instseg_session_options. Throws StatusError, UNSUPPORTED for tensors of a
  // kind that the interface does not have.
  TensorRtSession(std::shared_ptr<Gpu> gpu, std::unique_ptr<Engine> engine, bool leading_batch);

  [[nodiscard]] Engine& engine() const noexcept { return *engine_; }
  [[nodiscard]] const std::shared_ptr<Gpu>& gpu() const noexcept { return gpu_; }
  [[nodiscard]] const std::vector<instseg_tensor>& input_tensors() const noexcept {
    return input_tensors_;
  }
  [[nodiscard]] const std::vector<instseg_tensor>& output_tensors() const noexcept {
    return output_tensors_;
  }
  [[nodiscard]] Counters& counters() const noexcept { return counters_; }
  void read_statistics(instseg_statistics& statistics) const;

 private:
  void resolve_output_shapes();

  std::shared_ptr<Gpu> gpu_;
  std::unique_ptr<Engine> engine_;
  std::vector<Shape> output_shapes_;  // as the core is told them
  std::vector<instseg_tensor> input_tensors_;
  std::vector<instseg_tensor> output_tensors_;
  mutable Counters counters_;
};

// Buffers hold the largest shapes of the engine's profiles, from the start. Used by one thread at a
// time; must not outlive the session.
class TensorRtContext {
 public:
  TensorRtContext(TensorRtSession& session, std::shared_ptr<Lane> lane);
  ~TensorRtContext();
  TensorRtContext(const TensorRtContext&) = delete;
  TensorRtContext& operator=(const TensorRtContext&) = delete;

  // As context_run and context_enqueue of the plug-in interface.
  void run(const instseg_memory* inputs, instseg_memory* outputs);
  void enqueue(const instseg_memory* inputs, instseg_memory* outputs);

  [[nodiscard]] Stream stream() const noexcept { return lane_->stream(); }

 private:
  // The context's own memory for one input or output.
  struct Buffer {
    GpuMemory device;
    GpuMemory pinned;
  };

  // An output whose shape depends on data.
  class Sink final : public OutputSink {
   public:
    explicit Sink(GpuMemory& memory) : memory_(memory) {}
    void* reallocate(std::size_t bytes) noexcept override;
    void set_shape(std::span<const std::int64_t> found) noexcept override;
    Shape shape;

   private:
    GpuMemory& memory_;
  };

  void reserve_for_profile(std::size_t profile);
  ShapedExecution& submit(const instseg_memory* inputs, const instseg_memory* outputs);
  void check_outputs(const ShapedExecution& execution, const instseg_memory* outputs) const;
  void bind(ShapedExecution& execution, const instseg_memory* inputs,
            const instseg_memory* outputs);
  void stage_inputs(const instseg_memory* inputs);
  void issue(ShapedExecution& execution, const instseg_memory* inputs,
             const instseg_memory* outputs);
  void capture(ShapedExecution& execution, const instseg_memory* inputs,
               const instseg_memory* outputs);
  void finish_sinks(const instseg_memory* outputs);
  void hand_over(const ShapedExecution& execution, instseg_memory* outputs);
  [[nodiscard]] const Shape& output_shape(const ShapedExecution& execution, std::size_t i) const;

  TensorRtSession& session_;
  std::shared_ptr<Lane> lane_;
  Gpu& gpu_;
  ExecutionCache executions_;
  std::vector<Buffer> inputs_;
  std::vector<Buffer> outputs_;
  std::vector<std::unique_ptr<Sink>> sinks_;  // by output; null: its shape follows from the inputs
  std::vector<Shape> result_shapes_;
  std::vector<void*> addresses_;
  std::vector<char> copied_;
  bool has_sinks_ = false;
  bool graphs_ = true;    // false once a capture has failed
  bool pending_ = false;  // work is under way that nobody has waited for
};

}  // namespace instseg::tensorrt_backend
