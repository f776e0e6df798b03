// A stage that is compiled by a backend, and the running inferences on it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.hpp"
#include "backends/stage_sizes.hpp"
#include "instseg/bundle.hpp"
#include "instseg/error.hpp"
#include "instseg/export.hpp"

namespace instseg {

struct SessionOptions {
  std::string device;
  std::string precision;
  int threads = 0;   // 0: all cores
  int contexts = 1;  // that will run at the same time
  // For backends that run engines: what these must take, and where a new one would go.
  BatchSpec batch{};
  std::filesystem::path bundle{};
};

// What a session has done and holds, all its contexts together.
struct SessionStatistics {
  std::uint64_t runs = 0;            // that ended well
  std::uint64_t graph_captures = 0;  // CUDA graphs made, one per combination of shapes and memory
  std::uint64_t graph_replays = 0;   // runs that launched a graph instead of the single kernels
  std::uint64_t graph_refusals = 0;  // captures that failed: no graphs since
  std::uint64_t device_bytes = 0;    // on the GPU, for inputs and outputs
  std::uint64_t pinned_bytes = 0;    // on the host, for copies from and to the GPU
};

// While it lives, the contexts that its thread creates belong together: they are never run at the
// same time, so that a backend may let them share a stream and temporary memory.
class ContextGroup {
 public:
  ContextGroup();
  ~ContextGroup();
  ContextGroup(const ContextGroup&) = delete;
  ContextGroup& operator=(const ContextGroup&) = delete;

 private:
  std::uint64_t outer_;
};

// Name of the axis that counts the images of a batch.
inline constexpr std::string_view kBatchAxis = "batch";

// Where a tensor lies: on the host, or on the session's device.
enum class MemoryKind : std::int32_t { host = INSTSEG_HOST_MEMORY, device = INSTSEG_DEVICE_MEMORY };

// Memory and shape of one input or output of a run; a view, like std::span.
struct TensorView {
  void* data = nullptr;
  std::span<const std::int64_t> shape{};  // what it points to outlives the run
  MemoryKind memory = MemoryKind::host;   // also where data is null
};

// One running inference with the backend's buffers. Used by one thread at a time; must not outlive
// its Session.
class INSTSEG_API SessionContext {
 public:
  // inputs: one per tensor, in the manifest's order; data and the whole shape. Not written to.
  // outputs: likewise, or none at all. One with data is written there, and must come out in exactly
  // its shape; one without gets the backend's own memory and the shape that comes out: no copy,
  // whatever the sizes. Memory is contiguous, on the host or on the session's device, and aligned
  // to FloatBuffer::kAlignment (the backend's own, which may be the next stage's input: at least
  // for its type).
  //
  // Returns all outputs, in the manifest's order. The array, and the memory and shapes that are not
  // the caller's, stay valid until the context's next run or its end.
  //
  // Shapes must agree with the manifest: fixed sizes, and one size per name in all inputs and
  // outputs ("batch", "height", "rois"). An output may have names that no input has.
  //
  // Nothing to compute (an input with a size of 0, such as no RoIs) does not reach the backend: the
  // outputs are empty, with a size of 0 and without data. That needs outputs whose shapes follow
  // from those of the inputs and have a size of 0 too; otherwise it is an error that says so, and
  // the caller must leave the stage out.
  //
  // Throws Error: internal for arguments that break these rules, bad_bundle where an output comes
  // out in a shape that the manifest excludes, unsupported for memory on a device that the backend
  // does not have, backend, out_of_memory.
  std::span<const TensorView> run(std::span<const TensorView> inputs,
                                  std::span<const TensorView> outputs = {});

  // As run, but does not wait for the end, and all outputs lie on the device: they are complete for
  // what is put on stream() afterwards, and inputs there may be written by what was put on it
  // before. Throws Error(unsupported) where the backend has no device.
  std::span<const TensorView> enqueue(std::span<const TensorView> inputs,
                                      std::span<const TensorView> outputs = {});

  // The stream of this context and of all of its ContextGroup, a cudaStream_t; null where the
  // backend has no device.
  [[nodiscard]] void* stream() const;

 private:
  friend class Session;
  struct Destroy {
    const instseg_backend* functions;
    void operator()(instseg_context* context) const { functions->context_destroy(context); }
  };
  SessionContext(const class Session& session, std::unique_ptr<instseg_context, Destroy> context);

  using Function = decltype(instseg_backend::context_run);
  std::span<const TensorView> run_with(Function function, MemoryKind own_memory,
                                       std::span<const TensorView> inputs,
                                       std::span<const TensorView> outputs);
  // Returns whether there is nothing to compute.
  bool check_inputs(std::span<const TensorView> inputs);
  // own_memory: where outputs without memory of the caller are to lie.
  void check_outputs(std::span<const TensorView> outputs, MemoryKind own_memory);
  void check_memory(const TensorView& view) const;
  void leave_empty();
  void call(Function function, std::span<const TensorView> inputs);
  [[noreturn]] void fail(ErrorCode code, const std::string& problem) const;

  const Session* session_;
  std::unique_ptr<instseg_context, Destroy> context_;
  StageSizes sizes_;
  std::vector<TensorView> results_;  // as `run` returns them
  std::vector<std::vector<std::int64_t>> empty_shapes_;
  // In the backend's order.
  std::vector<instseg_memory> inputs_;
  std::vector<instseg_memory> outputs_;
};

// Safe to use from many threads.
class INSTSEG_API Session {
 public:
  // Compiles the stage, or finds the engine that fits, and compares its inputs and outputs with the
  // manifest's (names, types, shapes). Throws Error(bad_bundle) where they differ, what
  // stage_in_precision and choose_engine throw, and what the backend reports.
  Session(std::shared_ptr<const Backend> backend, const StageSpec& stage,
          const SessionOptions& options);

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Its file is the one that runs.
  [[nodiscard]] const StageSpec& stage() const noexcept { return stage_; }
  [[nodiscard]] SessionContext create_context() const;
  // Empty where the backend counts nothing. May be called while contexts run.
  [[nodiscard]] std::optional<SessionStatistics> statistics() const;

 private:
  friend class SessionContext;
  [[noreturn]] void fail(const std::string& action, std::int32_t status,
                         const std::string& message) const;

  struct Destroy {
    const instseg_backend* functions;
    void operator()(instseg_session* session) const { functions->session_destroy(session); }
  };

  std::shared_ptr<const Backend> backend_;
  StageSpec stage_;
  std::unique_ptr<instseg_session, Destroy> session_;
  // Position in the backend's order of each tensor of the manifest's order.
  std::vector<std::size_t> input_order_;
  std::vector<std::size_t> output_order_;
};

}  // namespace instseg
