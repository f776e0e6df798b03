// A running inference on a stage, with the memory that it is bound to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvino/openvino.hpp>
#include <optional>
#include <vector>

#include "backends/openvino/image_lanes.hpp"
#include "backends/openvino/openvino_session.hpp"

namespace instseg::openvino_backend {

class OpenVinoContext {
 public:
  // Makes what one image needs, so that a context that cannot be made says so at once.
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
  [[nodiscard]] bool is_direct(const instseg_memory* outputs, std::size_t i) const;
  [[nodiscard]] Request make_request();
  void renew_request(const instseg_memory* outputs);
  void bind_inputs(const instseg_memory* inputs);
  void bind_outputs(const instseg_memory* outputs);
  void fetch(instseg_memory* outputs);

  OpenVinoSession& session_;
  Network network_;
  Request request_;
  std::optional<ImageLanes> lanes_;                // from the first batch on
  std::vector<std::vector<std::int64_t>> shapes_;  // of outputs, as the caller gets them
};

}  // namespace instseg::openvino_backend
