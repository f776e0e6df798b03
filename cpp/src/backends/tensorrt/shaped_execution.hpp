// The executions of a context, one per combination of input shapes, each with its CUDA graph.
//
// A captured graph is only right as long as the execution that it was captured from keeps its
// shapes: TensorRT holds memory of its own per execution that depends on them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/plugin_api.h"
#include "backends/tensorrt/lane.hpp"

namespace instseg::tensorrt_backend {

// An execution that is set to certain shapes.
class ShapedExecution {
 public:
  ShapedExecution(std::shared_ptr<Lane> lane, const Engine& engine, std::size_t profile,
                  std::unique_ptr<Execution> execution);
  ~ShapedExecution() { drop_graph(); }
  ShapedExecution(const ShapedExecution&) = delete;
  ShapedExecution& operator=(const ShapedExecution&) = delete;

  [[nodiscard]] std::size_t profile() const noexcept { return profile_; }
  [[nodiscard]] bool has_shapes(const instseg_memory* inputs) const;
  void set_shapes(const instseg_memory* inputs);
  // For those shapes; -1 where a size depends on data.
  [[nodiscard]] const std::vector<Shape>& output_shapes() const noexcept { return output_shapes_; }

  Execution& operator*() const noexcept { return *execution_; }

  // Binds memory on the device, inputs first, then outputs (null: that output has a sink), and the
  // lane's scratch. `copied` says which of them are copied from or to the host, which a graph does,
  // too. A graph for other memory or copies is dropped.
  void bind(std::span<void* const> addresses, std::span<const char> copied);

  // Has it been run with what is bound now? TensorRT prepares for new shapes in the first run,
  // which can be no part of a graph.
  [[nodiscard]] bool prepared() const noexcept { return prepared_; }
  void set_prepared() noexcept { prepared_ = true; }

  [[nodiscard]] Graph graph() const noexcept { return graph_; }
  void keep_graph(Graph graph) noexcept { graph_ = graph; }

  std::uint64_t last_used = 0;  // 0: never

 private:
  void drop_graph() noexcept;

  std::shared_ptr<Lane> lane_;
  std::size_t profile_;
  std::unique_ptr<Execution> execution_;
  std::size_t inputs_;
  std::vector<Shape> input_shapes_;
  std::vector<Shape> output_shapes_;
  std::vector<void*> addresses_;
  std::vector<char> copied_;
  void* scratch_ = nullptr;
  std::size_t scratch_bytes_ = 0;
  bool shaped_ = false;
  bool prepared_ = false;
  Graph graph_ = nullptr;
};

// The executions that a context keeps.
class ExecutionCache {
 public:
  // Combinations of shapes beyond this push out the one that was not used for the longest time.
  static constexpr std::size_t kPerProfile = 8;

  ExecutionCache(std::shared_ptr<Lane> lane, Engine& engine)
      : lane_(std::move(lane)), engine_(engine) {}

  // The execution for these shapes. Allocates nothing where there is one already.
  ShapedExecution& find(std::size_t profile, const instseg_memory* inputs);

  [[nodiscard]] std::size_t size() const noexcept { return executions_.size(); }

 private:
  ShapedExecution& take(std::size_t profile);

  std::shared_ptr<Lane> lane_;
  Engine& engine_;
  std::vector<std::unique_ptr<ShapedExecution>> executions_;
  std::uint64_t clock_ = 0;
};

}  // namespace instseg::tensorrt_backend
