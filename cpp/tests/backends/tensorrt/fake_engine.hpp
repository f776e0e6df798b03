// A GPU and an engine on the host, as strict as the real ones: what is put on a stream happens when
// somebody waits for it, a run right after new shapes cannot be captured, and a graph is broken by
// other shapes of the execution that it was captured from.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "backends/plugin_status.hpp"
#include "backends/tensorrt/engine.hpp"

namespace instseg::tensorrt_backend::testing {

using Work = std::vector<std::function<void()>>;

class FakeGpu final : public Gpu {
 public:
  ~FakeGpu() override {
    EXPECT_EQ(live_memory, 0);
    EXPECT_EQ(live_graphs, 0);
    EXPECT_EQ(live_streams, 0);
  }

  void* allocate(std::size_t bytes) override {
    if (bytes > memory_limit) {
      throw StatusError(INSTSEG_STATUS_OUT_OF_MEMORY, "cudaMalloc: out of memory");
    }
    ++allocations;
    ++live_memory;
    return std::malloc(bytes);
  }
  void release(void* memory) noexcept override {
    --live_memory;
    std::free(memory);
  }
  void* allocate_pinned(std::size_t bytes) override { return allocate(bytes); }
  void release_pinned(void* memory) noexcept override { release(memory); }

  Stream create_stream() override {
    ++live_streams;
    return new Work;
  }
  void destroy_stream(Stream stream) noexcept override {
    --live_streams;
    delete static_cast<Work*>(stream);
  }
  void synchronize(Stream stream) override {
    EXPECT_EQ(capturing, nullptr) << "waits while it captures";
    Work work;
    work.swap(*static_cast<Work*>(stream));
    for (const auto& step : work) {
      step();
    }
  }
  void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) override {
    ++copies;
    put(stream, [=] { std::memcpy(to, from, bytes); });
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) override {
    copy_to_device(to, from, bytes, stream);
  }

  void begin_capture(Stream stream) override {
    capturing = static_cast<Work*>(stream);
    captured.clear();
  }
  Graph end_capture(Stream) override {
    capturing = nullptr;
    if (refuse_graphs) {
      throw StatusError(INSTSEG_STATUS_BACKEND, "cudaGraphInstantiate: not supported");
    }
    ++live_graphs;
    return new Work(captured);
  }
  void abort_capture(Stream) noexcept override { capturing = nullptr; }
  void launch(Graph graph, Stream stream) override {
    for (const auto& step : *static_cast<Work*>(graph)) {
      put(stream, step);
    }
  }
  void destroy_graph(Graph graph) noexcept override {
    --live_graphs;
    delete static_cast<Work*>(graph);
  }

  void put(Stream stream, std::function<void()> step) {
    auto* const work = static_cast<Work*>(stream);
    (work == capturing ? captured : *work).push_back(std::move(step));
  }

  std::size_t memory_limit = std::size_t{1} << 30U;
  bool refuse_graphs = false;
  int allocations = 0;
  int copies = 0;
  int live_memory = 0;
  int live_graphs = 0;
  int live_streams = 0;
  Work* capturing = nullptr;
  Work captured;
};

// The shape of an output for those of the inputs; -1 where a size depends on data.
using ShapeRule = std::function<Shape(const std::vector<Shape>& inputs)>;

class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(std::shared_ptr<FakeGpu> fake_gpu) : gpu(std::move(fake_gpu)) {}

  [[nodiscard]] const std::vector<Port>& inputs() const override { return inputs_; }
  [[nodiscard]] const std::vector<Port>& outputs() const override { return outputs_; }
  [[nodiscard]] const std::vector<std::vector<ProfileRange>>& profiles() const override {
    return profiles_;
  }
  [[nodiscard]] std::size_t scratch_bytes() const override { return scratch; }
  [[nodiscard]] std::unique_ptr<Execution> create_execution(std::size_t profile,
                                                            Stream stream) override;

  void add_input(const std::string& name, const Shape& shape) {
    inputs_.push_back({name, INSTSEG_FLOAT32, sizeof(float), shape});
  }
  void add_output(const std::string& name, const Shape& shape, ShapeRule rule,
                  std::int32_t dtype = INSTSEG_FLOAT32) {
    outputs_.push_back({name, dtype, sizeof(float), shape});
    rules.push_back(std::move(rule));
  }
  void add_profile(std::vector<ProfileRange> ranges) { profiles_.push_back(std::move(ranges)); }

  std::shared_ptr<FakeGpu> gpu;
  std::vector<ShapeRule> rules;
  std::size_t scratch = 100;
  int executions = 0;
  int shape_changes = 0;
  int launches = 0;          // of kernels: by enqueue or by a graph
  int enqueues = 0;          // calls from the host
  Shape data_shape = {0};    // of outputs that depend on data
  std::string next_failure;  // of the next enqueue

 private:
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<std::vector<ProfileRange>> profiles_;
};

inline std::size_t element_count(const Shape& shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) {
    count *= static_cast<std::size_t>(size);
  }
  return count;
}

// Output i is 100 * i + the first value of the first input + its own position.
class FakeExecution final : public Execution {
 public:
  FakeExecution(FakeEngine& engine, std::size_t profile)
      : engine_(engine),
        profile_(profile),
        shapes_(engine.inputs().size()),
        inputs_(shapes_.size()),
        outputs_(engine.outputs().size()),
        sinks_(outputs_.size()) {}

  void set_scratch(void* memory, std::size_t bytes) override {
    scratch_ = memory;
    EXPECT_GE(bytes, engine_.scratch);
  }
  void set_input_shape(std::size_t input, std::span<const std::int64_t> shape) override {
    const ProfileRange& range = engine_.profiles()[profile_][input];
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      EXPECT_GE(shape[axis], range.min[axis]);
      EXPECT_LE(shape[axis], range.max[axis]);
    }
    shapes_[input].assign(shape.begin(), shape.end());
    ++engine_.shape_changes;
    ++*generation_;
    prepared_ = false;
  }
  void output_shape(std::size_t output, Shape& shape) const override {
    shape = engine_.rules[output](shapes_);
  }
  void set_input_address(std::size_t input, const void* memory) override {
    inputs_[input] = memory;
  }
  void set_output_address(std::size_t output, void* memory) override { outputs_[output] = memory; }
  void set_output_sink(std::size_t output, OutputSink& sink) override { sinks_[output] = &sink; }

  void enqueue(Stream stream) override {
    ++engine_.enqueues;
    if (!engine_.next_failure.empty()) {
      throw StatusError(INSTSEG_STATUS_BACKEND, std::exchange(engine_.next_failure, {}));
    }
    EXPECT_NE(scratch_, nullptr);
    EXPECT_EQ(std::ranges::count(inputs_, nullptr), 0);
    const bool captured = engine_.gpu->capturing != nullptr;
    EXPECT_TRUE(!captured || prepared_) << "captures the first run after new shapes";
    prepared_ = true;
    std::vector<Shape> shapes;
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      shapes.push_back(engine_.rules[i](shapes_));
      const bool data = std::ranges::count(shapes.back(), -1) > 0;
      EXPECT_TRUE(!(captured && data)) << "captures what depends on data";
      EXPECT_TRUE(data ? sinks_[i] != nullptr : outputs_[i] != nullptr);
    }
    // What runs later: with what is bound now.
    engine_.gpu->put(
        stream, [&engine = engine_, generation = generation_, now = *generation_, captured, shapes,
                 input = inputs_[0], outputs = outputs_, sinks = sinks_] {
          EXPECT_TRUE(!captured || *generation == now) << "graph of an execution with other shapes";
          ++engine.launches;
          for (std::size_t i = 0; i < outputs.size(); ++i) {
            Shape shape = shapes[i];
            void* memory = outputs[i];
            if (std::ranges::count(shape, -1) > 0) {
              shape = engine.data_shape;
              memory = sinks[i]->reallocate(element_count(shape) * sizeof(float));
              sinks[i]->set_shape(shape);
            }
            float first = 0.0F;
            std::memcpy(&first, input, sizeof(first));
            for (std::size_t at = 0; at < element_count(shape); ++at) {
              static_cast<float*>(memory)[at] =
                  100.0F * static_cast<float>(i) + first + static_cast<float>(at);
            }
          }
        });
  }

 private:
  FakeEngine& engine_;
  std::size_t profile_;
  std::vector<Shape> shapes_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  std::vector<OutputSink*> sinks_;
  void* scratch_ = nullptr;
  bool prepared_ = false;
  std::shared_ptr<int> generation_ = std::make_shared<int>(0);
};

inline std::unique_ptr<Execution> FakeEngine::create_execution(std::size_t profile, Stream) {
  ++executions;
  return std::make_unique<FakeExecution>(*this, profile);
}

// A tensor of one value, in memory of its own.
struct FakeTensor {
  FakeTensor(const Shape& of_shape, float value, std::int32_t memory_kind = INSTSEG_HOST_MEMORY)
      : shape(of_shape), values(element_count(of_shape), value), kind(memory_kind) {}
  instseg_memory view() {
    return {values.data(), static_cast<std::int32_t>(shape.size()), shape.data(), kind};
  }
  Shape shape;
  std::vector<float> values;
  std::int32_t kind;
};

// An output that the backend gives the memory of.
inline instseg_memory no_memory(std::int32_t kind = INSTSEG_HOST_MEMORY) {
  return {nullptr, 0, nullptr, kind};
}

}  // namespace instseg::tensorrt_backend::testing
