// What the layers of a session's networks take, for whoever asks for it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

namespace instseg::openvino_backend {

// Collects the counters of single images' runs, and writes them at its end: a JSON file in the
// folder that the environment variable INSTSEG_OPENVINO_PROFILE names,
//
//   {"stage": FILE, "precision": "fp32", "runs": N,
//    "layers": [{"name", "type", "implementation", "microseconds": [of each run]}, ...]}
//
// type: OpenVINO's, or the name of an operation of ours. May be used by many threads.
class LayerProfile {
 public:
  // Null where nobody asks. Throws StatusError where the folder is none.
  static std::unique_ptr<LayerProfile> if_wanted(std::string stage, std::string precision);

  LayerProfile(std::string folder, std::string stage, std::string precision);
  ~LayerProfile();
  LayerProfile(const LayerProfile&) = delete;
  LayerProfile& operator=(const LayerProfile&) = delete;

  // Before the first run: the graph that is compiled, which knows our operations.
  void name_operations(const ov::Model& model);
  void add(const std::vector<ov::ProfilingInfo>& layers);

 private:
  struct Layer {
    std::string name;
    std::string type;
    std::string implementation;
    std::vector<std::int64_t> microseconds;
  };

  [[nodiscard]] std::string json() const;
  void write() const;

  std::string folder_;
  std::string stage_;
  std::string precision_;
  std::map<std::string, std::string> own_types_;  // of our operations, by name
  std::mutex mutex_;
  std::size_t runs_ = 0;
  std::vector<Layer> layers_;
};

}  // namespace instseg::openvino_backend
