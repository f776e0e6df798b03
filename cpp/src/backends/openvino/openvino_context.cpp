#include "backends/openvino/openvino_context.hpp"

#include <cstring>

#include "backends/openvino/memory_shape.hpp"

namespace instseg::openvino_backend {

OpenVinoContext::OpenVinoContext(OpenVinoSession& session)
    : session_(session),
      network_(session.context_network()),
      request_(make_request()),
      shapes_(session.outputs().size()) {}

OpenVinoContext::Request OpenVinoContext::make_request() {
  return {network_.compiled.create_infer_request(), std::vector<Bound>(session_.inputs().size()),
          std::vector<void*>(session_.outputs().size())};
}

bool OpenVinoContext::is_direct(const instseg_memory* outputs, std::size_t i) const {
  return outputs[i].data != nullptr && session_.known_shape(i).has_value();
}

// A request does not give an output its own memory back.
void OpenVinoContext::renew_request(const instseg_memory* outputs) {
  for (std::size_t i = 0; i < request_.outputs.size(); ++i) {
    if (request_.outputs[i] != nullptr && !is_direct(outputs, i)) {
      request_ = make_request();
      return;
    }
  }
}

void OpenVinoContext::bind_inputs(const instseg_memory* inputs) {
  for (std::size_t i = 0; i < request_.inputs.size(); ++i) {
    Bound& bound = request_.inputs[i];
    if (bound.data != inputs[i].data || !equal(inputs[i], bound.shape)) {
      ov::Shape shape = to_shape(inputs[i]);
      request_.request.set_input_tensor(
          i, ov::Tensor(session_.inputs()[i].type, shape, inputs[i].data));
      bound = {inputs[i].data, std::move(shape)};
    }
  }
}

void OpenVinoContext::bind_outputs(const instseg_memory* outputs) {
  for (std::size_t i = 0; i < request_.outputs.size(); ++i) {
    if (!is_direct(outputs, i)) {
      continue;
    }
    const ov::Shape& shape = *session_.known_shape(i);
    check_shape(session_.outputs()[i], outputs[i], shape);
    if (request_.outputs[i] != outputs[i].data) {
      request_.request.set_output_tensor(
          i, ov::Tensor(session_.outputs()[i].type, shape, outputs[i].data));
      request_.outputs[i] = outputs[i].data;
    }
  }
}

void OpenVinoContext::fetch(instseg_memory* outputs) {
  for (std::size_t i = 0; i < request_.outputs.size(); ++i) {
    if (is_direct(outputs, i)) {
      continue;
    }
    ov::Tensor tensor = request_.request.get_output_tensor(i);
    const ov::Shape& shape = tensor.get_shape();
    void* const data = tensor.get_size() == 0 ? nullptr : tensor.data();
    if (outputs[i].data == nullptr) {
      shapes_[i].assign(shape.begin(), shape.end());
      outputs[i] = {data, static_cast<std::int32_t>(shapes_[i].size()), shapes_[i].data(),
                    INSTSEG_HOST_MEMORY};
      continue;
    }
    check_shape(session_.outputs()[i], outputs[i], shape);
    if (data != nullptr) {
      std::memcpy(outputs[i].data, data, tensor.get_byte_size());
    }
  }
}

void OpenVinoContext::run(const instseg_memory* inputs, instseg_memory* outputs) {
  if (session_.image_by_image() && inputs[0].shape[0] > 1) {
    if (!lanes_) {
      lanes_.emplace(session_, network_);
    }
    lanes_->run(inputs, outputs);
    return;
  }
  renew_request(outputs);
  bind_inputs(inputs);
  bind_outputs(outputs);
  request_.request.infer();
  network_.count(request_.request);
  fetch(outputs);
}

}  // namespace instseg::openvino_backend
