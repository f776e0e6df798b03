// What the plug-in needs of TensorRT and of CUDA. The logic of sessions and contexts is written
// against these interfaces, and tested without a GPU; tensorrt_engine.cpp and cuda_gpu.cpp are the
// real ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace instseg::tensorrt_backend {

using Shape = std::vector<std::int64_t>;

struct Port {
  std::string name;
  std::int32_t dtype = 0;  // instseg_data_type
  std::size_t element_bytes = 0;
  Shape shape;  // -1: differs from run to run
};

// Shapes of one input that an optimization profile takes.
struct ProfileRange {
  Shape min;
  Shape opt;
  Shape max;
};

using Stream = void*;  // cudaStream_t
using Graph = void*;   // cudaGraphExec_t

// One GPU. Every function that can fail throws StatusError that names the call which failed.
// Streams and memory are released by the owners in gpu_memory.hpp.
class Gpu {
 public:
  virtual ~Gpu() = default;

  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  // On the host, for copies that do not go through the driver's own memory.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void release_pinned(void* memory) noexcept = 0;

  virtual Stream create_stream() = 0;
  virtual void destroy_stream(Stream stream) noexcept = 0;
  virtual void synchronize(Stream stream) = 0;
  virtual void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) = 0;
  virtual void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) = 0;

  // What this thread puts on the stream between begin and end becomes the graph, and is not run.
  virtual void begin_capture(Stream stream) = 0;
  virtual Graph end_capture(Stream stream) = 0;
  virtual void abort_capture(Stream stream) noexcept = 0;
  virtual void launch(Graph graph, Stream stream) = 0;
  virtual void destroy_graph(Graph graph) noexcept = 0;
};

// Memory for an output whose size is known only when it has been computed.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  // Device memory of at least `bytes`; null where there is none.
  virtual void* reallocate(std::size_t bytes) noexcept = 0;
  virtual void set_shape(std::span<const std::int64_t> shape) noexcept = 0;
};

// An execution context with one optimization profile. Inputs and outputs are counted as in Engine.
class Execution {
 public:
  virtual ~Execution() = default;

  virtual void set_scratch(void* memory, std::size_t bytes) = 0;
  virtual void set_input_shape(std::size_t input, std::span<const std::int64_t> shape) = 0;
  // For the input shapes that are set; -1 where a size depends on data.
  virtual void output_shape(std::size_t output, Shape& shape) const = 0;
  virtual void set_input_address(std::size_t input, const void* memory) = 0;
  virtual void set_output_address(std::size_t output, void* memory) = 0;
  virtual void set_output_sink(std::size_t output, OutputSink& sink) = 0;
  virtual void enqueue(Stream stream) = 0;
};

// A plan that was read. Safe to use from many threads.
class Engine {
 public:
  virtual ~Engine() = default;

  [[nodiscard]] virtual const std::vector<Port>& inputs() const = 0;
  [[nodiscard]] virtual const std::vector<Port>& outputs() const = 0;
  // By profile, then by input; at least one profile.
  [[nodiscard]] virtual const std::vector<std::vector<ProfileRange>>& profiles() const = 0;
  // Temporary device memory that an execution with any of the profiles needs.
  [[nodiscard]] virtual std::size_t scratch_bytes() const = 0;
  // The profile is set by work on the stream.
  [[nodiscard]] virtual std::unique_ptr<Execution> create_execution(std::size_t profile,
                                                                    Stream stream) = 0;
};

}  // namespace instseg::tensorrt_backend
