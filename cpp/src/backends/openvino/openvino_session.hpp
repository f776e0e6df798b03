// A stage compiled by OpenVINO. C++ side of the plug-in; plugin.cpp puts the C interface over it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <openvino/openvino.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backends/openvino/layer_profile.hpp"
#include "backends/plugin_api.h"

namespace instseg::openvino_backend {

// Does this processor have instructions for the type? Otherwise OpenVINO takes another one.
bool computes_in(const ov::element::Type& precision);

std::string processor_name();

// One input or output: what the core is told about it, and what OpenVINO needs to wrap memory for
// it.
struct Port {
  std::string name;
  ov::element::Type type;
  std::vector<std::int64_t> shape;  // -1: known at run time only
};

struct Network {
  ov::CompiledModel compiled;
  std::shared_ptr<NetworkProfile> profile;  // null: nobody asks for one

  // After each inference.
  void count(const ov::InferRequest& request) const {
    if (profile != nullptr) {
      profile->count(request);
    }
  }
};

// A stage of independent images is compiled for one image, with all threads: the best latency. The
// images of a batch go through further networks side by side, each with a part of the threads,
// which are compiled when the first batch arrives (docs/decisions/0010). Other stages are compiled
// with open sizes. Contexts that run at the same time have a network each.
//
// No network has more than one of OpenVINO's streams. Those of one network are made at the same
// time from shared weights, and with OpenVINO 2026.4 some of them compute with wrong ones
// (docs/decisions/0011).
//
// In fp32, convolutions that are faster by Winograd's method are computed so, by ours
// (docs/decisions/0012), and where there is a matrix unit, others with it (docs/decisions/0013).
// Their weights are there once for all networks of the session.
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

  // Is the network for one image, and a batch many runs?
  [[nodiscard]] bool image_by_image() const noexcept { return image_by_image_; }
  // The shape of an output of one image; none where it depends on the input's size, or on data, or
  // where there is one network for all sizes.
  [[nodiscard]] const std::optional<ov::Shape>& known_shape(std::size_t output) const {
    return known_shapes_[output];
  }

  // For one more context: the first `contexts` calls give a network each.
  Network context_network();
  // For images side by side; compiled by the first call.
  std::vector<Network> batch_networks();

 private:
  void describe_ports(const ov::Model& open, const ov::Model& single);
  // Number `index` of `count` networks that share the threads.
  [[nodiscard]] Network compile(int index, int count) const;
  // Makes those of `count` networks that are missing, up to number `end`. Under the mutex.
  void complete(std::vector<Network>& networks, int end, int count) const;

  ov::element::Type precision_;
  int contexts_;
  int threads_;  // 0: all cores
  bool image_by_image_;
  std::shared_ptr<ov::Model> model_;  // for one image, or open
  std::vector<std::optional<ov::Shape>> known_shapes_;
  std::unique_ptr<LayerProfile> profile_;  // null: nobody asks for one
  std::mutex mutex_;
  std::vector<Network> networks_;  // of contexts
  int contexts_made_ = 0;
  std::vector<Network> lane_networks_;  // for batches, with one context
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<instseg_tensor> input_tensors_;
  std::vector<instseg_tensor> output_tensors_;
};

}  // namespace instseg::openvino_backend
