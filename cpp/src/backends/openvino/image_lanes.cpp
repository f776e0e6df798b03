#include "backends/openvino/image_lanes.hpp"

#include <cstring>

#include "backends/openvino/memory_shape.hpp"

namespace instseg::openvino_backend {

ImageLanes::ImageLanes(OpenVinoSession& session, const Network& context_network)
    : session_(session), alone_{Lane(context_network)}, outputs_(session.outputs().size()) {
  for (const Network& network : session_.batch_networks()) {
    lanes_.emplace_back(network);
  }
}

void ImageLanes::run(const instseg_memory* inputs, instseg_memory* outputs) {
  batch_ = static_cast<std::size_t>(inputs[0].shape[0]);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    outputs_[i].shape.clear();
    if (session_.known_shape(i)) {
      place(i, *session_.known_shape(i), outputs[i]);
    }
  }
  const bool side_by_side = 2 * batch_ >= lanes_.size();
  const std::span<Lane> lanes = side_by_side ? std::span(lanes_) : std::span(alone_);
  try {
    run_on(lanes, inputs, outputs);
  } catch (...) {
    // What still runs writes to memory of the caller.
    for (Lane& lane : lanes) {
      if (lane.runs) {
        lane.runs = false;
        try {
          lane.request.wait();
        } catch (...) {  // the first problem is the one to tell
        }
      }
    }
    throw;
  }
}

void ImageLanes::run_on(std::span<Lane> lanes, const instseg_memory* inputs,
                        instseg_memory* outputs) {
  for (std::size_t image = 0; image < batch_; ++image) {
    Lane& lane = lanes[image % lanes.size()];
    finish(lane, outputs);
    start(lane, image, inputs);
  }
  for (std::size_t image = batch_; image < batch_ + lanes.size(); ++image) {
    finish(lanes[image % lanes.size()], outputs);  // in the order of the images
  }
}

void ImageLanes::start(Lane& lane, std::size_t image, const instseg_memory* inputs) {
  lane.image = image;
  for (std::size_t i = 0; i < session_.inputs().size(); ++i) {
    const ov::element::Type& type = session_.inputs()[i].type;
    ov::Shape shape = to_shape(inputs[i]);
    shape[0] = 1;
    auto* const data = static_cast<std::byte*>(inputs[i].data);
    lane.request.set_input_tensor(
        i, ov::Tensor(type, shape, data + image * ov::shape_size(shape) * type.size()));
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Output& output = outputs_[i];
    if (session_.known_shape(i) && output.data != nullptr) {
      const ov::element::Type& type = session_.outputs()[i].type;
      lane.request.set_output_tensor(
          i, ov::Tensor(type, output.shape,
                        output.data + image * ov::shape_size(output.shape) * type.size()));
    }
  }
  lane.request.start_async();
  lane.runs = true;
}

void ImageLanes::finish(Lane& lane, instseg_memory* outputs) {
  if (!lane.runs) {
    return;
  }
  lane.runs = false;
  lane.request.wait();
  lane.network.count(lane.request);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (session_.known_shape(i)) {
      continue;
    }
    const ov::Tensor tensor = lane.request.get_output_tensor(i);
    if (lane.image == 0) {
      place(i, tensor.get_shape(), outputs[i]);
    } else if (tensor.get_shape() != outputs_[i].shape) {
      throw StatusError(INSTSEG_STATUS_BAD_MODEL,
                        "output '" + session_.outputs()[i].name + "' has shape " +
                            tensor.get_shape().to_string() + " for image " +
                            std::to_string(lane.image) + " of the batch, and " +
                            outputs_[i].shape.to_string() + " for image 0");
    }
    if (tensor.get_size() > 0) {
      std::memcpy(outputs_[i].data + lane.image * tensor.get_byte_size(), tensor.data(),
                  tensor.get_byte_size());
    }
  }
}

void ImageLanes::place(std::size_t i, const ov::Shape& shape, instseg_memory& memory) {
  const Port& port = session_.outputs()[i];
  Output& output = outputs_[i];
  output.shape = shape;
  ov::Shape full = shape;
  full[0] = batch_;
  if (memory.data != nullptr) {
    check_shape(port, memory, full);
    output.data = static_cast<std::byte*>(memory.data);
    return;
  }
  const std::size_t bytes = ov::shape_size(full) * port.type.size();
  output.full_shape.assign(full.begin(), full.end());
  void* const own = bytes == 0
                        ? nullptr
                        : output.memory.reserve((bytes + sizeof(float) - 1) / sizeof(float)).data();
  output.data = static_cast<std::byte*>(own);
  memory = {own, static_cast<std::int32_t>(output.full_shape.size()), output.full_shape.data(),
            INSTSEG_HOST_MEMORY};
}

}  // namespace instseg::openvino_backend
