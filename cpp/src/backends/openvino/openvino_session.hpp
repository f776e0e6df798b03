// A stage compiled by OpenVINO. C++ side of the plug-in; plugin.cpp puts the C interface over it.
#pragma once

#include <cstdint>
#include <mutex>
#include <openvino/openvino.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backends/plugin_api.h"

namespace instseg::openvino_backend {

// One input or output: what the core is told about it, and what OpenVINO needs to wrap memory for
// it.
struct Port {
  std::string name;
  ov::element::Type type;
  std::vector<std::int64_t> shape;  // -1: known at run time only
};

// With a leading batch, batch 1 is compiled at once, with fixed shapes: the best latency. All other
// sizes share a second network with open shapes, which is then compiled when the first of them
// arrives; without a leading batch, it is the only one and compiled at once.
class OpenVinoSession {
 public:
  OpenVinoSession(const std::string& path, const instseg_session_options& options);

  [[nodiscard]] const std::vector<Port>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const std::vector<Port>& outputs() const noexcept { return outputs_; }
  [[nodiscard]] const std::vector<instseg_tensor>& input_tensors() const noexcept {
    return input_tensors_;
  }
  [[nodiscard]] const std::vector<instseg_tensor>& output_tensors() const noexcept {
    return output_tensors_;
  }

  [[nodiscard]] bool leading_batch() const noexcept { return leading_batch_; }
  // Is there a network of fixed shapes for inputs of these shapes?
  [[nodiscard]] bool has_fixed(const instseg_memory* inputs) const;
  // The shape of an output of that network; none where it depends on data.
  [[nodiscard]] const std::optional<ov::Shape>& fixed_shape(std::size_t output) const {
    return fixed_shapes_[output];
  }

  ov::InferRequest fixed_request() { return fixed_.create_infer_request(); }
  ov::InferRequest open_request();

 private:
  void describe_ports(const ov::Model& open, const ov::Model& fixed);

  ov::Core core_;
  ov::AnyMap properties_;
  std::shared_ptr<ov::Model> model_;
  bool leading_batch_;
  ov::CompiledModel fixed_;  // with a leading batch
  std::vector<std::optional<ov::Shape>> fixed_shapes_;
  std::once_flag open_once_;
  ov::CompiledModel open_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<instseg_tensor> input_tensors_;
  std::vector<instseg_tensor> output_tensors_;
};

class OpenVinoContext {
 public:
  explicit OpenVinoContext(OpenVinoSession& session);

  void run(const instseg_memory* inputs, instseg_memory* outputs);

 private:
  struct Bound {
    void* data = nullptr;
    ov::Shape shape;
  };

  // A request with the caller's memory that it is bound to.
  struct Request {
    ov::InferRequest request;
    std::vector<Bound> inputs;
    std::vector<void*> outputs;  // null: the request's own memory
  };

  // Whether an output is written into the caller's memory, without a copy. Only where its size is
  // known beforehand: OpenVINO writes past the end of memory that turns out to be too small.
  [[nodiscard]] bool is_direct(bool fixed, const instseg_memory* outputs, std::size_t i) const;
  Request& request_for(bool fixed, const instseg_memory* outputs);
  void bind_inputs(Request& request, const instseg_memory* inputs) const;
  void bind_outputs(Request& request, bool fixed, const instseg_memory* outputs) const;
  void fetch(Request& request, bool fixed, instseg_memory* outputs);

  OpenVinoSession& session_;
  std::optional<Request> fixed_;
  std::optional<Request> open_;
  std::vector<std::vector<std::int64_t>> shapes_;  // of outputs, as the caller gets them
};

}  // namespace instseg::openvino_backend
