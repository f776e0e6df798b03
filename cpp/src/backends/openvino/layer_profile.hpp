// What the layers of a stage take, by OpenVINO's own counters: INSTSEG_OPENVINO_PROFILE.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <openvino/openvino.hpp>
#include <optional>
#include <string>
#include <vector>

namespace instseg::openvino_backend {

// The environment variable with the folder that profiles are written to; not set or empty: none.
inline constexpr const char* kProfileVariable = "INSTSEG_OPENVINO_PROFILE";

// Counts the inferences of one compiled network. OpenVINO tells of each layer the mean over all
// inferences of its network until now, whichever request is asked, so twice is often enough: after
// the first inference, which also makes buffers and kernels and is left out, and at the end.
class NetworkProfile {
 public:
  // After every inference, from any thread. request: that has run.
  void count(const ov::InferRequest& request);

 private:
  friend class LayerProfile;

  std::mutex mutex_;
  std::int64_t inferences_ = 0;
  std::optional<ov::InferRequest> request_;  // the first; kept to be asked again
  std::vector<ov::ProfilingInfo> first_;
};

// A layer in all networks of a stage, without the first inference of each.
struct LayerTime {
  std::string name;
  std::string type;            // OpenVINO's; of an operation of ours, its own
  std::string implementation;  // "brgconv_avx512_f32"
  std::int64_t calls = 0;
  std::int64_t microseconds = 0;
};

// The networks of one session. Writes a JSON file when it ends, named after the stage's file.
class LayerProfile {
 public:
  // Null where the variable asks for none. path: of the stage's file. model: that is compiled.
  // Throws StatusError where the variable names no folder that can be written to.
  static std::unique_ptr<LayerProfile> wanted(const std::string& path, const std::string& precision,
                                              std::shared_ptr<const ov::Model> model);

  // What cannot be written is told on stderr.
  ~LayerProfile();
  LayerProfile(const LayerProfile&) = delete;
  LayerProfile& operator=(const LayerProfile&) = delete;

  // For one more network, which was compiled with ov::enable_profiling.
  std::shared_ptr<NetworkProfile> add_network();

  // Those that took time, the longest first. No network may run meanwhile.
  [[nodiscard]] std::vector<LayerTime> layers() const;

 private:
  LayerProfile(std::filesystem::path folder, std::filesystem::path stage, std::string precision,
               std::shared_ptr<const ov::Model> model);
  [[nodiscard]] std::string json() const;
  void write() const;

  std::filesystem::path folder_;
  std::filesystem::path stage_;
  std::string precision_;
  std::shared_ptr<const ov::Model> model_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<NetworkProfile>> networks_;
};

}  // namespace instseg::openvino_backend
