// A stage compiled by OpenVINO. C++ side of the plug-in; plugin.cpp puts the C interface over it.
#pragma once

#include <cstdint>
#include <mutex>
#include <openvino/openvino.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "backends/plugin_api.h"

namespace instseg::openvino_backend {

// A failure with the status that crosses the boundary.
class StatusError : public std::runtime_error {
 public:
  StatusError(instseg_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  [[nodiscard]] instseg_status status() const noexcept { return status_; }

 private:
  instseg_status status_;
};

// One input or output: what the core is told about it, and what OpenVINO needs to wrap memory for
// it.
struct Port {
  std::string name;
  ov::element::Type type;
  std::vector<std::int64_t> shape;  // -1: the batch
};

// Batch 1 is compiled at once, with static shapes: the best latency. Every other batch size shares
// a second network with a dynamic batch, which is compiled when the first of them arrives.
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

  ov::InferRequest single_request() { return single_.create_infer_request(); }
  ov::InferRequest batch_request();

 private:
  void describe_ports(const ov::Model& dynamic, const ov::Model& single);

  ov::Core core_;
  ov::AnyMap properties_;
  std::shared_ptr<ov::Model> model_;
  ov::CompiledModel single_;
  std::once_flag batch_once_;
  ov::CompiledModel batch_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<instseg_tensor> input_tensors_;
  std::vector<instseg_tensor> output_tensors_;
};

class OpenVinoContext {
 public:
  explicit OpenVinoContext(OpenVinoSession& session)
      : session_(session), single_{session.single_request(), 0, {}, {}} {}

  void run(std::int64_t batch, void* const* inputs, void* const* outputs);

 private:
  // A request with the caller's memory that it is bound to.
  struct Request {
    ov::InferRequest request;
    std::int64_t batch = 0;
    std::vector<void*> inputs;
    std::vector<void*> outputs;
  };

  void bind(Request& bound, std::int64_t batch, void* const* inputs, void* const* outputs) const;

  OpenVinoSession& session_;
  Request single_;
  std::optional<Request> batch_;
};

}  // namespace instseg::openvino_backend
