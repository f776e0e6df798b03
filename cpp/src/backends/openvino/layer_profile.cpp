#include "backends/openvino/layer_profile.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "backends/plugin_status.hpp"
#include "core/json_writer.hpp"

namespace instseg::openvino_backend {
namespace {

namespace fs = std::filesystem;

// OpenVINO's name for every operation that it has no implementation of, and that computes itself.
constexpr const char* kOwnOperation = "Reference";

using LayerKey = std::tuple<std::string, std::string, std::string>;

LayerKey key(const ov::ProfilingInfo& layer) {
  return {layer.node_name, layer.node_type, layer.exec_type};
}

// Type of each operation by its name.
std::map<std::string, std::string> operation_types(const ov::Model& model) {
  std::map<std::string, std::string> types;
  for (const std::shared_ptr<ov::Node>& node : model.get_ops()) {
    types.emplace(node->get_friendly_name(), node->get_type_name());
  }
  return types;
}

// A name that no profile in the folder has, also of a process that had the number of this one.
fs::path free_name(const fs::path& folder, const std::string& stage) {
  static std::atomic<int> made{0};
  while (true) {
    fs::path file = folder / (stage + "-" + std::to_string(::getpid()) + "-" +
                              std::to_string(++made) + ".json");
    if (!fs::exists(file)) {
      return file;
    }
  }
}

}  // namespace

void NetworkProfile::count(const ov::InferRequest& request) {
  const std::scoped_lock lock(mutex_);
  if (++inferences_ == 1) {
    request_ = request;
    first_ = request.get_profiling_info();
  }
}

std::unique_ptr<LayerProfile> LayerProfile::wanted(const std::string& path,
                                                   const std::string& precision,
                                                   std::shared_ptr<const ov::Model> model) {
  const char* const folder = std::getenv(kProfileVariable);
  if (folder == nullptr || *folder == '\0') {
    return nullptr;
  }
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored) || ::access(folder, W_OK | X_OK) != 0) {
    throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT,
                      "the environment variable " + std::string(kProfileVariable) + " is '" +
                          folder + "', expected a folder that can be written to");
  }
  // Absolute, as the process may go to another folder meanwhile.
  return std::unique_ptr<LayerProfile>(
      new LayerProfile(fs::absolute(folder), path, precision, std::move(model)));
}

LayerProfile::LayerProfile(fs::path folder, fs::path stage, std::string precision,
                           std::shared_ptr<const ov::Model> model)
    : folder_(std::move(folder)),
      stage_(std::move(stage)),
      precision_(std::move(precision)),
      model_(std::move(model)) {}

LayerProfile::~LayerProfile() {
  try {
    write();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "instseg: no profile of %s: %s\n", stage_.c_str(), error.what());
  } catch (...) {
    std::fprintf(stderr, "instseg: no profile of %s: unknown exception\n", stage_.c_str());
  }
}

std::shared_ptr<NetworkProfile> LayerProfile::add_network() {
  const std::scoped_lock lock(mutex_);
  return networks_.emplace_back(std::make_shared<NetworkProfile>());
}

std::vector<LayerTime> LayerProfile::layers() const {
  const std::map<std::string, std::string> types = operation_types(*model_);
  std::map<LayerKey, LayerTime> found;
  const std::scoped_lock lock(mutex_);
  for (const std::shared_ptr<NetworkProfile>& network : networks_) {
    const std::scoped_lock network_lock(network->mutex_);
    if (network->inferences_ < 2) {
      continue;
    }
    std::map<LayerKey, std::int64_t> first;
    for (const ov::ProfilingInfo& layer : network->first_) {
      first[key(layer)] += layer.real_time.count();
    }
    for (const ov::ProfilingInfo& layer : network->request_->get_profiling_info()) {
      LayerTime& sum = found[key(layer)];
      sum.calls += network->inferences_ - 1;
      sum.microseconds += std::max(
          network->inferences_ * layer.real_time.count() - first[key(layer)], std::int64_t{0});
    }
  }
  std::vector<LayerTime> layers;
  for (auto& [key, layer] : found) {
    if (layer.microseconds > 0) {
      std::tie(layer.name, layer.type, layer.implementation) = key;
      const auto own = layer.type == kOwnOperation ? types.find(layer.name) : types.end();
      layer.type = own == types.end() ? layer.type : own->second;
      layers.push_back(std::move(layer));
    }
  }
  std::ranges::stable_sort(layers, std::ranges::greater(), &LayerTime::microseconds);
  return layers;
}

std::string LayerProfile::json() const {
  std::int64_t calls = 0;
  std::int64_t first_calls = 0;
  {
    const std::scoped_lock lock(mutex_);
    for (const std::shared_ptr<NetworkProfile>& network : networks_) {
      const std::scoped_lock network_lock(network->mutex_);
      const std::int64_t first = std::min(network->inferences_, std::int64_t{1});
      first_calls += first;
      calls += network->inferences_ - first;
    }
  }
  JsonWriter writer(2);
  writer.begin_object();
  writer.key("file");
  writer.text(stage_.string());
  writer.key("precision");
  writer.text(precision_);
  writer.key("calls");
  writer.integer(calls);
  writer.key("first_calls");
  writer.integer(first_calls);
  writer.key("layers");
  writer.begin_array();
  for (const LayerTime& layer : layers()) {
    writer.begin_object();
    writer.key("name");
    writer.text(layer.name);
    writer.key("type");
    writer.text(layer.type);
    writer.key("implementation");
    writer.text(layer.implementation);
    writer.key("calls");
    writer.integer(layer.calls);
    writer.key("microseconds");
    writer.integer(layer.microseconds);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  return writer.take() + "\n";
}

void LayerProfile::write() const {
  const fs::path file = free_name(folder_, stage_.stem().string());
  fs::path unfinished = file;
  unfinished += ".part";
  std::ofstream stream(unfinished, std::ios::binary);
  stream << json();
  stream.close();
  if (!stream) {
    throw std::runtime_error(unfinished.string() + " cannot be written");
  }
  fs::rename(unfinished, file);
}

}  // namespace instseg::openvino_backend
